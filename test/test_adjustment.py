"""The solver: its derivatives, and what it recovers where the truth is known."""

import dataclasses

import numpy as np
import pytest

from voxelpose_core.datasets.generated_recordings import RecordingSettings, generate_recording
from voxelpose_core.metrics.rig_error import rig_error
from voxelpose_core.self_calibration.adjustment import adjust
from voxelpose_core.self_calibration.adjustment_equations import jacobians
from voxelpose_core.self_calibration.adjustment_objective import (
    CENTER,
    FOCAL,
    OFFSET,
    PARAMETERS,
    ROTATION,
    AdjustmentSettings,
    Objective,
    independent_weights,
)
from voxelpose_core.self_calibration.bones import Bones
from voxelpose_core.self_calibration.observations import SharedPoses
from voxelpose_core.self_calibration.observed_rays import observe, triangulate_rays
from voxelpose_core.skeletons import COCO17, PANOPTIC15

FREE = AdjustmentSettings(rotation_deg=5.0, center_mm=500.0, offset_ms=100.0, focal=0.2)


def exact_poses(made, offsets_s=0.0, count=40, noise_px=0.0, seed=0):
    """SharedPoses of the true joints in the true rig, `offsets_s` (V,) to be added to the stamps."""
    random = np.random.default_rng(seed)
    start = int(np.searchsorted(made.times, 0.5))
    index = start + 12 * np.arange(count)
    dt = made.times[1] - made.times[0]
    joints = made.poses[:, 0]
    cameras = made.true_rig.cameras
    shape = (count, len(cameras), 17)
    pixels, velocities, scores = np.zeros((*shape, 2)), np.zeros((*shape, 2)), np.zeros(shape)
    for view, (camera, offset) in enumerate(
        zip(cameras, np.broadcast_to(offsets_s, len(cameras)), strict=True)
    ):
        # A camera whose offset is o sees at its own time t what happens at t + o.
        def project(shift, camera=camera, offset=offset):
            steps = (shift + offset) / dt
            low = int(np.floor(steps))
            share = steps - low
            points = (1 - share) * joints[index + low] + share * joints[index + low + 1]
            flat = points.reshape(-1, 3)
            return camera.project(flat)[0].reshape(count, 17, 2), camera.sees(flat).reshape(count, 17)

        pixels[:, view], seen = project(0.0)
        velocities[:, view] = (project(dt)[0] - project(-dt)[0]) / (2 * dt)
        scores[:, view] = seen * 0.8
    pixels += random.normal(0, noise_px, pixels.shape)
    return SharedPoses(made.times[index], np.zeros(count, int), pixels, velocities, scores)


def _made(**changes):
    return generate_recording(1, RecordingSettings(duration_s=12.0, noise=0.0, **changes))


def _problem(made, cameras, settings=FREE):
    problem = Objective(cameras, exact_poses(made, count=6), COCO17, settings, made.rig.cameras)
    problem.noise = 0.02
    return problem


@pytest.mark.parametrize("fisheye", [False, True])
def test_derivatives_are_those_of_the_errors(fisheye):
    made = _made(fisheye=fisheye, degrees=2.0, mm=100.0)
    problem = _problem(made, made.rig.cameras)
    state = problem.start()
    state.offsets = np.array([0.0, 0.01, -0.02, 0.005])
    errors, by_point, by_camera = jacobians(problem, state)
    used = problem.used(state)
    assert used.sum() > 100
    count, zero = problem.rest_size, np.zeros(state.points.size)
    for parameter, step in (
        *((p, 1e-6) for p in range(3)),
        *((p, 1e-2) for p in range(3, 6)),
        (OFFSET, 1e-6),
    ):
        rest = np.zeros(count)
        rest[PARAMETERS + parameter] = step
        moved = problem.errors(problem.moved(state, rest, zero))[0]
        slope = ((moved - errors) / step)[:, 1][used[:, 1]]
        assert np.allclose(slope, by_camera[:, 1, ..., parameter][used[:, 1]], rtol=2e-3, atol=2e-2)
    points = zero.reshape(state.points.shape) + [0.0, 1e-2, 0.0]
    moved = problem.errors(problem.moved(state, np.zeros(count), points.ravel()))[0]
    assert np.allclose(((moved - errors) / 1e-2)[used], by_point[..., 1][used], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("fisheye", [False, True])
def test_the_derivative_by_the_focal_length(fisheye):
    """Also where the rig does not meet the detections: an error grows with the focal length, too."""
    made = _made(fisheye=fisheye, degrees=2.0, mm=100.0)
    problem = _problem(made, made.rig.cameras)
    state = problem.start()
    errors, _, by_camera = jacobians(problem, state)
    used = problem.used(state)[:, 2]
    rest = np.zeros(problem.rest_size)
    rest[2 * PARAMETERS + FOCAL] = 1e-4
    ahead = problem.errors(problem.moved(state, rest, np.zeros(state.points.size)))[0]
    behind = problem.errors(problem.moved(state, -rest, np.zeros(state.points.size)))[0]
    slope = ((ahead - behind) / 2e-4)[:, 2][used]
    assert np.abs(errors[:, 2][used]).max() > 5 and np.abs(slope).max() > 50
    assert np.allclose(slope, by_camera[:, 2, ..., FOCAL][used], rtol=1e-3, atol=0.1)


@pytest.mark.parametrize("fisheye", [False, True])
@pytest.mark.parametrize("cameras", [3, 5])
def test_exact_detections_give_the_exact_rig(fisheye, cameras):
    made = _made(fisheye=fisheye, degrees=2.0, mm=100.0, cameras=cameras)
    offsets = np.linspace(0.0, 0.02, cameras)
    poses = exact_poses(made, offsets)
    found = adjust(made.rig.cameras, poses, COCO17, dataclasses.replace(FREE, focal=0.0, stages=6))
    before = rig_error(made.rig, made.true_rig, made.true_joints())
    after = rig_error(_rig(made, found), made.true_rig, made.true_joints(), similarity=True)
    assert before.pair_mm > 40 and after.pair_mm < 1.5 and after.degrees.max() < 0.1
    assert found.offsets_s == pytest.approx(offsets, abs=0.002)
    assert np.nanmedian(found.shares) < 1e-3


def test_a_wrong_focal_length_is_found():
    made = _made(degrees=0.5, mm=20.0, focal_errors=(0.0, 0.15, 0.0, 0.0))
    settings = dataclasses.replace(FREE, focal=(0.01, 0.3, 0.01, 0.01), stages=6, steps=25)
    found = adjust(made.rig.cameras, exact_poses(made), COCO17, settings)
    ratio = found.cameras[1].K[0, 0] / made.true_rig.cameras[1].K[0, 0]
    assert ratio == pytest.approx(1.0, abs=0.02)


def test_what_is_fixed_stays_and_has_no_uncertainty():
    made = _made(degrees=1.0, mm=50.0)
    settings = AdjustmentSettings(rotation_deg=(0, 2, 2, 2), center_mm=(0, 100, 100, 100), offset_ms=0.0)
    found = adjust(made.rig.cameras, exact_poses(made), COCO17, settings)
    assert np.allclose(found.cameras[0].R, made.rig.cameras[0].R)
    assert np.array_equal(found.cameras[0].C, made.rig.cameras[0].C)
    assert (found.offsets_s == 0).all()
    assert found.deviations(ROTATION)[0] == 0 and (found.deviations(ROTATION)[1:] > 0).all()
    assert found.deviations(CENTER)[0] == 0 and found.deviations(OFFSET).max() == 0
    assert not np.allclose(found.cameras[1].R, made.rig.cameras[1].R)


def test_a_camera_that_shares_nobody_stays_where_it_is_and_as_unsure_as_its_prior():
    made = _made(degrees=1.0, mm=50.0)
    poses = exact_poses(made)
    poses.scores[:, 3] = 0
    found = adjust(made.rig.cameras, poses, COCO17)
    assert np.allclose(found.cameras[3].R, made.rig.cameras[3].R, atol=1e-9)
    assert found.deviations(CENTER)[3] == pytest.approx(20 * 3**0.5)
    assert np.degrees(found.deviations(ROTATION)[3]) == pytest.approx(0.5 * 3**0.5)
    assert found.deviations(CENTER)[0] < 30


def test_wrong_detections_of_one_camera_do_not_spoil_the_others():
    made = _made(degrees=1.0, mm=50.0)
    poses = exact_poses(made, noise_px=2.0)
    random = np.random.default_rng(0)
    wrong = random.random(poses.scores.shape) < 0.1
    poses.pixels[wrong] += random.normal(0, 150, (wrong.sum(), 2))
    found = adjust(made.rig.cameras, poses, COCO17)
    after = rig_error(_rig(made, found), made.true_rig, made.true_joints())
    assert after.pair_mm < 12


def test_bones_keep_the_scale_of_a_rig_whose_centres_are_free():
    made = _made(degrees=1.0, mm=50.0)
    poses = exact_poses(made, noise_px=8.0)
    found = adjust(made.rig.cameras, poses, COCO17)
    bones = Bones.of(COCO17)
    logs, there = bones.logs(np.nan_to_num(found.joints), np.isfinite(found.joints[..., 0]))
    true = np.stack([made.poses[np.searchsorted(made.times, t), 0] for t in poses.times])
    true_logs, _ = bones.logs(true, np.ones((len(true), 17), bool))
    assert np.median((logs - true_logs)[there]) == pytest.approx(0.0, abs=0.02)


def test_frames_that_follow_at_once_bring_no_news():
    def weight(spacing, people=0):
        times = np.arange(0, 20, spacing)
        empty = np.zeros((len(times), 2, 17))
        numbers = np.arange(len(times)) % (people + 1)
        poses = SharedPoses(times, numbers, np.zeros((*empty.shape, 2)), np.zeros((*empty.shape, 2)), empty)
        return independent_weights(poses).sum()

    assert weight(1 / 60) == pytest.approx(weight(0.2), rel=0.15)
    assert weight(5.0) == pytest.approx(4, rel=0.2)
    assert weight(0.2, people=1) > 1.5 * weight(0.2)


def test_triangulation_ignores_a_wrong_view_and_refuses_parallel_rays():
    made = _made()
    poses = exact_poses(made, count=10)
    poses.pixels[:, 2] += 200.0
    cameras = made.true_rig.cameras
    rays = observe(cameras, poses)
    R, C = np.stack([c.R for c in cameras]), np.stack([c.C for c in cameras])
    points, good = triangulate_rays(rays, R, C, share=0.02, rounds=8)
    true = np.stack([made.poses[np.searchsorted(made.times, t), 0] for t in poses.times])
    four = good & (rays.used.sum(axis=1) == 4)
    assert four.sum() > 50
    assert np.median(np.linalg.norm(points - true, axis=-1)[four]) < 10.0
    # Two cameras at one place see no depth.
    rays = observe(
        (cameras[0], cameras[0]),
        poses.__class__(
            *(
                getattr(poses, f.name)[:, :2] if getattr(poses, f.name).ndim > 1 else getattr(poses, f.name)
                for f in dataclasses.fields(poses)
            )
        ),
    )
    assert not triangulate_rays(rays, R[[0, 0]], C[[0, 0]] + [[0], [1.0]], share=0.02)[1].any()


def test_bones_of_other_joint_sets_are_those_that_they_have():
    assert Bones.of(COCO17).lengths == Bones.of(PANOPTIC15).lengths == 7
    assert len(Bones.of(COCO17).ends) == 12


def _rig(made, found):
    return dataclasses.replace(made.rig, cameras=found.cameras)
