"""Where people's feet say that the floor is."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from voxelpose_core import PoseEstimator, cli
from voxelpose_core.floor_watch import FloorWatch
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.pose_types import Estimate, Skeleton
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import CAMPUS14, COCO17, PANOPTIC15

# Standing, arms down, (17, 3) mm; ankles 70 mm above the floor.
STANDING = np.array(
    [
        *[[80, 0, 1600], [70, 30, 1640], [70, -30, 1640], [0, 70, 1620], [0, -70, 1620]],
        *[[0, 180, 1420], [0, -180, 1420], [0, 220, 1150], [0, -220, 1150]],
        *[[20, 230, 900], [20, -230, 900], [0, 120, 920], [0, -120, 920]],
        *[[10, 120, 490], [10, -120, 490], [0, 120, 70], [0, -120, 70]],
    ],
    dtype=float,
)


@pytest.fixture(scope="module")
def rig():
    return load_rig(find_resource("config/rigs/shelf.yaml"))


def people_at(floor, seed=0, count=3):
    """People somewhere in the middle of the rig, turned anyhow."""
    random = np.random.default_rng(seed)
    people = []
    for x, y in random.uniform(-1200, 1200, (count, 2)) + [450, -320]:
        angle = random.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
        people.append(STANDING @ np.vstack([turn, [0, 0, 1.0]]).T + [x, y, floor])
    return np.array(people)


def frame_set(rig, people, seed=0, lost_ankles=False):
    """What a detector sees of people (P, 17, 3), 2 px off, in another order in each view."""
    random = np.random.default_rng(seed)
    keypoints = []
    for camera in rig.cameras:
        view = np.zeros((len(people), 17, 3))
        for index, joints in enumerate(people):
            pixels, _ = camera.project(joints)
            view[index, :, :2] = pixels + random.normal(0, 2, (17, 2))
            view[index, :, 2] = 0.9 * camera.sees(joints)
        if lost_ankles:
            view[:, 15:, 2] = 0
        keypoints.append(random.permutation(view))
    return Estimate([], keypoints, rig.names)


def watched(rig, floor, ground=0.0, frames=6):
    watch = FloorWatch(rig.with_ground(ground), COCO17)
    for seed in range(frames):
        watch.add(frame_set(rig, people_at(floor, seed), seed))
    return watch


@pytest.mark.parametrize("floor", [-1000, -750, -350, 400, 600])
def test_a_floor_elsewhere_is_found_without_a_skeleton(rig, floor):
    watch = watched(rig, floor)
    assert watch.floor == pytest.approx(floor, abs=25)
    where = "above" if floor > 0 else "below"
    assert where in watch.finding() and f"give --ground {floor} " in watch.finding()
    assert watched(rig, floor, ground=floor).finding() is None


@pytest.mark.parametrize("floor", [-120, 0, 120])
def test_a_floor_near_the_ground_is_not_worth_a_word(rig, floor):
    assert watched(rig, floor).finding() is None


def test_people_without_feet_and_floors_that_differ_say_nothing(rig):
    watch = FloorWatch(rig, COCO17)
    for seed in range(6):
        watch.add(frame_set(rig, people_at(-750, seed), seed, lost_ankles=True))
    assert watch.floor is None and watch.finding() is None
    for seed in range(12):
        watch.add(frame_set(rig, people_at(400 - 1000 * (seed % 2), seed), seed))
    assert watch.floor is None and watch.finding() is None
    watch = FloorWatch(rig, COCO17)
    watch.add(Estimate([], [None] * 5, ()))
    watch.add(Estimate([], [np.zeros((0, 17, 3))] * 5, rig.names))
    assert watch.finding() is None


def test_a_camera_without_a_frame_and_broken_keypoints(rig):
    watch = FloorWatch(rig, COCO17)
    for seed in range(6):
        estimate = frame_set(rig, people_at(-750, seed), seed)
        estimate.keypoints[1] = None
        estimate.keypoints[2][0, 3:6] = np.nan
        watch.add(estimate)
    assert "give --ground -750 " in watch.finding()


def test_skeletons_tell_where_there_are_no_detections(rig):
    """Weights with a backbone: skeletons, those that the floor rule dropped too."""
    watch = FloorWatch(rig, COCO17)
    for seed in range(4):
        people = people_at(-350, seed)
        skeletons = [Skeleton(p, np.ones(17), np.ones(17, bool), 0.9) for p in people]
        none = [None] * len(rig)
        watch.add(Estimate(skeletons[:1], none, rig.names, below_floor=skeletons[1:]))
    assert watch.floor == pytest.approx(-350, abs=1)


@pytest.mark.parametrize("joint_set", [PANOPTIC15, CAMPUS14])
def test_every_joint_set_has_feet(rig, joint_set):
    assert FloorWatch(rig, joint_set).finding() is None


@pytest.fixture(scope="module")
def demo_images(shared_dir, tmp_path_factory):
    """Eight frame sets of the demo's recording, a folder per camera."""
    videos = sorted((shared_dir / "data/pose2sim/MultiPerson").rglob("*.mp4"))
    if len(videos) != 4:
        pytest.skip(f"{len(videos)} videos of the demo's recording, expected 4")
    folders = []
    for video in videos:
        folders.append(tmp_path_factory.mktemp(video.stem))
        capture = cv2.VideoCapture(str(video))
        for frame in range(57):
            image = capture.read()[1]
            if frame % 8 == 0:
                cv2.imwrite(str(folders[-1] / f"{frame:03d}.jpg"), image)
    return [str(folder) for folder in folders]


@pytest.fixture(scope="module")
def demo_keypoints(shared_dir, demo_images, tmp_path_factory):
    """The 2D detections in these images, which are the same whatever the rig."""
    estimator = PoseEstimator(load_rig(case_rig(shared_dir, "board_on_table")))
    content = {}
    for frame, paths in enumerate(zip(*(sorted(Path(folder).iterdir()) for folder in demo_images))):
        found = estimator.estimate_images([cv2.imread(str(path)) for path in paths]).keypoints
        for camera, people in enumerate(found):
            content[f"{camera}_{frame}"] = [{"pred": person.tolist()} for person in people]
    path = tmp_path_factory.mktemp("keypoints") / "keypoints.json"
    path.write_text(json.dumps(content))
    return str(path)


CASES = {"board_on_table": -750, "board_on_step": -350, "origin_below": 400}


def case_rig(shared_dir, name):
    rig = shared_dir / f"cases/ground-elsewhere/{name}.yaml"
    if not rig.is_file():
        pytest.skip(f"no {rig}")
    return rig


@pytest.fixture
def estimate(shared_dir, tmp_path, capsys):
    """Runs `voxelpose estimate` with the rig of a case; what it printed."""

    def run(name, *options):
        out = str(tmp_path / "skeletons.json")
        rig = str(case_rig(shared_dir, name))
        assert cli.main(["estimate", "--rig", rig, "--out", out, "--threads", "1", *options]) == 0
        return capsys.readouterr()

    return run


@pytest.mark.parametrize("name", CASES)
def test_the_demo_recording_with_a_ground_elsewhere(demo_keypoints, estimate, name):
    """After --ground as told: two people in every frame, and not another word."""
    said = estimate(name, "--keypoints", demo_keypoints)
    finding = f"give --ground {CASES[name]} "
    assert said.err.count("warning: people's feet are ") == 1 and finding in said.err
    assert ("skeletons below it dropped" in said.out) == (CASES[name] < 0)
    said = estimate(name, "--keypoints", demo_keypoints, "--ground", str(CASES[name]))
    assert "people        2 in 8 frames;" in said.out and said.err == ""


def test_the_demo_images_with_a_ground_elsewhere(demo_images, estimate):
    said = estimate("board_on_table", "--images", *demo_images)
    assert said.err.count("warning: people's feet are ") == 1 and "give --ground -750 " in said.err
    assert "skeletons below it dropped" in said.out
