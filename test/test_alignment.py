"""Up, floor, origin and unit of a rig's world from the people in it."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from voxelpose_core.errors import InputError
from voxelpose_core.generated_motion import random_walks, walking_pose
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.self_calibration.alignment import align_to_people, rotation_to_z
from voxelpose_core.self_calibration.bodies import measure_bodies
from voxelpose_core.skeletons import COCO17

RATE_HZ = 5.0
NOISE_MM = 20.0


def rig_of(centers):
    """Cameras at these places, mm, in a world that is z up."""
    K = np.array([[800.0, 0, 640], [0, 800, 360], [0, 0, 1]])
    looking = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    cameras = [Camera(f"cam{i}", (1280, 720), K, np.zeros(5), looking, c) for i, c in enumerate(centers)]
    return Rig(tuple(cameras))


RIG = rig_of([[0.0, -5000, 1500], [3000.0, -4000, 1700]])


class World:
    """A world that is turned, scaled and moved against the room."""

    def __init__(self, seed, scale=0.02):
        random = np.random.default_rng(seed)
        self.rotation = Rotation.random(random_state=seed).as_matrix()
        self.scale, self.shift = scale, random.normal(0, 2000 * scale, 3)

    def points(self, points):
        return self.scale * points @ self.rotation.T + self.shift

    def room(self, points):
        return (points - self.shift) @ self.rotation / self.scale

    @property
    def rig(self):
        cameras = [
            Camera(c.name, c.image_size, c.K, c.distortion, c.R @ self.rotation.T, self.points(c.C))
            for c in RIG.cameras
        ]
        return Rig(tuple(cameras))


def walk(seed=0, people=1, seconds=20.0, noise=NOISE_MM):
    """Joints (K, 17, 3) mm in the room, numbers of people and times."""
    poses = random_walks(people, RATE_HZ, seconds, seed, room_mm=4000.0)
    times = np.repeat(np.arange(len(poses)) / RATE_HZ, people)
    joints = poses.reshape(-1, 17, 3)
    joints = joints + np.random.default_rng(seed).normal(0, noise, joints.shape)
    return joints, np.tile(np.arange(people), len(poses)), times


def aligned(joints, people, times, world, **unit):
    bodies = measure_bodies(world.points(joints), people, COCO17)
    return align_to_people(world.rig, bodies, times, **unit)


def check(alignment, world, degrees=0.8, floor_mm=30.0):
    """That up and floor of the new world are those of the room."""
    up = world.rotation @ [0, 0, 1]
    assert np.degrees(np.arccos(min(1.0, alignment.floor.up @ up))) < degrees
    similarity = alignment.similarity
    origin = (np.zeros(3) - similarity.shift) @ similarity.rotation / similarity.scale
    assert abs(world.room(origin)[2]) < floor_mm


@pytest.mark.parametrize("seed", range(4))
def test_any_world_becomes_that_of_the_room(seed):
    world = World(seed)
    apart = float(np.linalg.norm(RIG.cameras[0].C - RIG.cameras[1].C))
    joints, people, times = walk(seed)
    alignment = aligned(joints, people, times, world, distance=("cam0", "cam1", apart))
    check(alignment, world)
    assert alignment.similarity.scale * world.scale == pytest.approx(1.0, rel=1e-6)
    new = alignment.rig
    assert new.ground == 0.0 and new.space is None
    for camera, true in zip(new.cameras, RIG.cameras, strict=True):
        assert abs(camera.C[2] - true.C[2]) < 120
    hips = alignment.similarity.points(world.points(joints[:, [11, 12]].mean(axis=1)))
    low, high = np.percentile(hips[:, :2], (5, 95), axis=0)
    assert (np.abs(low + high) < 0.25 * (high - low)).all()
    # Every camera sees what it saw.
    room = np.array([[500.0, 300.0, 900.0]])
    pixel = RIG.cameras[0].project(room)[0]
    again = new.cameras[0].project(alignment.similarity.points(world.points(room)))[0]
    np.testing.assert_allclose(again, pixel, atol=1e-6)


def test_height_gives_the_unit_and_several_people_count_with_their_mean():
    world = World(5)
    joints, people, times = walk(5, people=2)
    true = measure_bodies(walk(5, people=2, noise=0.0)[0], people, COCO17)
    alignment = aligned(joints, people, times, world, height_mm=true.typical_stature)
    assert alignment.similarity.scale * world.scale == pytest.approx(1.0, rel=0.02)
    for person, stature in alignment.statures.items():
        assert stature == pytest.approx(true.statures()[person], rel=0.03)


def test_without_a_unit_millimetres_are_kept_and_others_are_refused():
    joints, people, times = walk(6)
    kept = aligned(joints, people, times, World(6, scale=1.0))
    assert kept.similarity.scale == 1.0
    assert any("the unit is kept: people come out 1" in note for note in kept.notes)
    with pytest.raises(InputError, match="the unit of this world is not mm: give --height"):
        aligned(joints, people, times, World(6, scale=0.02))


def test_two_levels_do_not_tilt_the_ground_and_it_is_the_lower_one():
    world = World(7, scale=1.0)
    joints, people, times = walk(7, seconds=30.0)
    platform = joints[:, 11, 0] > 700
    joints[platform, :, 2] += 300.0
    alignment = aligned(joints, people, times, world)
    check(alignment, world)
    assert any("feet stand on two levels, 19 % of a person's height apart" in n for n in alignment.notes)


def test_a_ramp_does_not_tilt_the_world():
    world = World(8, scale=1.0)
    joints, people, times = walk(8, seconds=30.0)
    joints[..., 2] += 0.12 * joints[:, 11, :1]
    alignment = aligned(joints, people, times, world)
    up = world.rotation @ [0, 0, 1]
    assert np.degrees(np.arccos(alignment.floor.up @ up)) < 1.5
    assert any("feet do not lie on one level plane" in note for note in alignment.notes)


def test_a_leaning_walk_in_all_directions_is_upright():
    """Walkers lean forward by five degrees."""
    world = World(9, scale=1.0)
    joints, people, times = walk(9)
    for pose in joints:
        across = pose[11] - pose[12]
        lean = Rotation.from_rotvec(-np.radians(5) * across / np.linalg.norm(across))
        foot = pose[[15, 16]].mean(axis=0)
        pose[:] = lean.inv().apply(pose - foot) + foot
    check(aligned(joints, people, times, world), world, floor_mm=40.0)


def test_nobody_upright_is_refused():
    joints, people, times = walk(10)
    seated = joints.copy()
    seated[:, [13, 14]] = joints[:, [11, 12]] + [0, 400, 0]
    seated[:, [15, 16]] = joints[:, [11, 12]] + [0, 400, -400]
    with pytest.raises(InputError, match="0 poses of a person who stands or walks upright"):
        aligned(seated, people, times, World(10))
    with pytest.raises(InputError, match="expected at least 12"):
        aligned(joints[:5], people[:5], times[:5], World(10))
    gone = np.full_like(joints, np.nan)
    with pytest.raises(InputError, match="0 poses of a person who stands"):
        aligned(gone, people, times, World(10))


def test_one_person_standing_still_does_not_tell_up():
    world = World(11, scale=1.0)
    pose = walking_pose(1750.0, 0.3, np.array([300.0, 200.0, 0.0]), 1.0)
    random = np.random.default_rng(0)
    joints = pose + random.normal(0, NOISE_MM, (100, 17, 3))
    with pytest.raises(InputError, match="people hardly move: they stand in 1 place, expected at least 3"):
        aligned(joints, np.zeros(100, int), np.arange(100) / RATE_HZ, world)


def test_camera_names_of_a_distance_are_checked():
    with pytest.raises(InputError, match="camera 'cam9' is not in rig"):
        aligned(*walk(0), World(0), distance=("cam0", "cam9", 100.0))


def test_a_distance_in_another_unit_is_refused_by_how_tall_people_come_out():
    apart_cm = float(np.linalg.norm(RIG.cameras[0].C - RIG.cameras[1].C)) / 10
    with pytest.raises(InputError, match=r"people come out 1\d\d(\.\d)? mm tall .*expected --distance"):
        aligned(*walk(0), World(0), distance=("cam0", "cam1", apart_cm))


@pytest.mark.parametrize("up", [[0, 0, 1], [0, 0, -1], [0, 1, 0], [0.6, 0, 0.8]])
def test_rotation_to_z(up):
    rotation = rotation_to_z(up)
    np.testing.assert_allclose(rotation @ up, [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
