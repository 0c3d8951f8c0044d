"""Generated walks, and what benchmarks/jitter.py says of them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from voxelpose_core.datasets.generated_walks import generate_walk
from voxelpose_core.skeletons import COCO17

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import jitter

PERFECT = {"level": 0.15, "number": 3, "people": 2}


def walk_of(**changes):
    return generate_walk(3, **(PERFECT | {"duration_s": 3.0} | changes))


def relative_errors(walk, steps):
    """(V, P, T, 17, 2) of the nearest detection to each person, as a share of the person's size; or NaN."""
    errors = np.full((len(walk.rig), walk.poses.shape[1], steps, 17, 2), np.nan)
    for view, camera in enumerate(walk.rig.cameras):
        for step in range(steps):
            people = walk.keypoints[step][view]
            for person in range(walk.poses.shape[1]):
                pixels, _ = camera.project(walk.poses[step, person])
                size = np.ptp(pixels, axis=0).max()
                shift = np.where(people[..., 2:] > 0, people[..., :2] - pixels, np.nan) / size
                gaps = [np.nanmedian(np.abs(one)) for one in shift]
                if gaps and min(gaps) < 0.05:
                    errors[view, person, step] = shift[int(np.argmin(gaps))]
    return np.where(np.abs(errors) < 0.1, errors, np.nan)


def test_walks_are_the_same_whenever_they_are_drawn_and_at_every_rate():
    one, two, slow = walk_of(), walk_of(), walk_of(rate_hz=5.0)
    np.testing.assert_array_equal(one.poses, two.poses)
    np.testing.assert_array_equal(one.keypoints[7][1], two.keypoints[7][1])
    np.testing.assert_allclose(one.poses[::5], slow.poses)
    assert one.poses.shape == (75, 2, 17, 3) and len(one.keypoints) == 75
    assert not np.array_equal(one.poses, walk_of(number=4).poses)


def test_limbs_keep_their_lengths_and_arms_swing():
    walk = walk_of(duration_s=6.0)
    for side in ("left", "right"):
        shoulder, elbow, wrist = (
            walk.poses[:, :, COCO17.index(f"{side}_{joint}")] for joint in ("shoulder", "elbow", "wrist")
        )
        for limb in (elbow - shoulder, wrist - elbow):
            lengths = np.linalg.norm(limb, axis=-1)
            np.testing.assert_allclose(lengths, lengths[:1].repeat(len(lengths), axis=0), rtol=1e-6)
        speed = np.linalg.norm(np.gradient(wrist, 1 / walk.rate_hz, axis=0), axis=-1)
        assert speed.max() > 2000


def test_errors_of_detections_last():
    errors = relative_errors(walk_of(level=0.45), 75)
    size = np.sqrt(np.nanmean(errors**2))
    steps = [np.sqrt(np.nanmean((errors[:, :, n:] - errors[:, :, :-n]) ** 2) / 2) for n in (1, 8)]
    assert 0.35 * size < steps[0] < 0.7 * size and steps[0] < 0.85 * steps[1] < size


def test_who_vanishes_is_seen_no_more():
    walk = walk_of(leaving=True, people=1, duration_s=2.0)
    assert walk.present[:25].all() and not walk.present[25:].any()
    assert sum(len(view) for frame in walk.keypoints[:25] for view in frame) > 20
    assert all(len(view) == 0 for frame in walk.keypoints[25:] for view in frame)


@pytest.mark.parametrize("delay_ms", [0, 40])
def test_the_delay_of_late_joints_is_found(delay_ms):
    walk = walk_of(duration_s=6.0)
    steps = delay_ms // 40
    late = np.concatenate([walk.poses[:1]] * steps + [walk.poses[: len(walk.poses) - steps]])
    noisy = late + np.random.default_rng(0).normal(0, 10.0, late.shape)
    nobody = np.zeros(len(late))
    found = {"late": [jitter.Found(noisy, nobody)], "true": [jitter.Found(walk.poses, nobody)]}
    rows = jitter.measure([walk], found)
    assert rows["late"]["delay_ms"] == pytest.approx(delay_ms, abs=8)
    assert rows["true"]["delay_ms"] == pytest.approx(0, abs=1e-6) and rows["true"]["error_mm"] == 0
    # The second difference of white noise of 10 mm an axis: sqrt(6) times its mean length of 16 mm.
    assert rows["late"]["jitter_moving_mm"] == pytest.approx(39, rel=0.25)


def test_losses_and_false_positives_are_counted():
    walk = walk_of(leaving=True)
    joints = np.where(walk.present[..., None, None], walk.poses, np.nan)
    joints[:10, 0] = np.nan
    false_positives = np.where(walk.present.all(axis=1), 0.0, 1.0)
    row = jitter.measure([walk], {"one": [jitter.Found(joints, false_positives)]})["one"]
    assert row["missed_percent"] == pytest.approx(1000 / walk.present.sum())
    assert (row["false_before"], row["false_after"]) == (0, 1)
    assert len(jitter.table({"one": row}).splitlines()) == 3


def test_a_method_follows_a_walk():
    from voxelpose_core.estimator import PoseEstimator

    walk = walk_of(duration_s=0.4)
    estimator = PoseEstimator(walk.rig, detector=None, device="cpu")
    for method in (jitter.METHODS["alone"], jitter.METHODS["last, smoothed"]):
        found = jitter.follow(walk, estimator, method)
        assert found.joints.shape == walk.poses.shape
        assert np.isfinite(found.joints).mean() > 0.8 and found.false_positives.mean() < 0.5
        errors = np.linalg.norm(found.joints - walk.poses, axis=-1)
        assert np.nanmean(errors) < 100
