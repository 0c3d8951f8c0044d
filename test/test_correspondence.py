"""Who is who in several views, how far views disagree, and by how much their clocks are off."""

import dataclasses

import numpy as np
import pytest

from voxelpose_core.datasets.generated_recordings import RecordingSettings, generate_recording
from voxelpose_core.errors import InputError
from voxelpose_core.self_calibration.adjustment import adjust
from voxelpose_core.self_calibration.correspondence import shared_poses
from voxelpose_core.self_calibration.held_out import disagreement
from voxelpose_core.self_calibration.offset_search import OffsetTable, search_offsets
from voxelpose_core.self_calibration.offsets import find_offsets
from voxelpose_core.skeletons import COCO17

SHORT = RecordingSettings(duration_s=6.0, rates_hz=15.0, noise=0.01)


def _made(number=0, **changes):
    return generate_recording(number, dataclasses.replace(SHORT, **changes))


def _wrong(made, poses):
    """Share of the detections that are not of the person whose pose it is."""
    wrong = total = 0
    for k in range(len(poses)):
        index = np.clip(np.searchsorted(made.times, poses.times[k]), 0, len(made.times) - 1)
        owners = []
        for view, camera in enumerate(made.true_rig.cameras):
            seen = poses.scores[k, view] > 0
            if seen.any():
                gaps = [
                    np.median(np.linalg.norm(camera.project(pose)[0] - poses.pixels[k, view], axis=1)[seen])
                    for pose in made.poses[index]
                ]
                owners.append(int(np.argmin(gaps)))
        wrong += len(owners) - np.bincount(owners).max()
        total += len(owners)
    return wrong / total


@pytest.mark.parametrize("changes", [{}, {"degrees": 1.0, "mm": 50.0}, {"fisheye": True, "degrees": 1.0}])
def test_people_are_the_same_in_all_views(changes):
    made = _made(people=3, **changes)
    poses = shared_poses(made.recording, made.rig.cameras)
    assert len(poses) > 50
    assert (np.diff(np.unique(poses.times)) > 0.199).all()
    assert _wrong(made, poses) < 0.02
    seen = (poses.scores > 0).any(axis=-1).sum(axis=-1)
    assert (seen >= 2).all() and np.median(seen) == 4


def test_long_recordings_are_thinned_and_empty_ones_give_nobody():
    made = _made(people=2)
    assert len(shared_poses(made.recording, made.rig.cameras, most=20)) <= 20
    nobody = dataclasses.replace(
        made.recording,
        cameras=tuple(
            dataclasses.replace(c, people=tuple(np.zeros((0, 17, 3)) for _ in c.people))
            for c in made.recording.cameras
        ),
    )
    poses = shared_poses(nobody, made.rig.cameras)
    assert len(poses) == 0 and poses.pixels.shape == (0, 4, 17, 2)
    fit = adjust(made.rig.cameras, poses, COCO17)
    assert all(np.allclose(a.R, b.R) for a, b in zip(fit.cameras, made.rig.cameras, strict=True))
    assert np.isnan(disagreement(made.rig.cameras, poses).share)


def test_other_cameras_than_calibrated_are_refused():
    made = _made()
    with pytest.raises(InputError, match="3 cameras are calibrated, but the recording has 4"):
        shared_poses(made.recording, made.rig.cameras[:3])
    other = dataclasses.replace(made.rig, cameras=made.rig.cameras[::-1])
    with pytest.raises(InputError, match="expected camera_3, camera_2, camera_1, camera_0 in this order"):
        find_offsets(made.recording, other)


def test_the_disagreement_is_the_detectors_noise_and_grows_with_a_camera_that_was_turned():
    made = _made(degrees=2.0, off_cameras=(1,))
    poses = shared_poses(made.recording, made.rig.cameras)
    true, off = (disagreement(rig.cameras, poses) for rig in (made.true_rig, made.rig))
    assert (true.shares < 0.03).all() and not true.by_pairs.any() and (true.counts > 20).all()
    assert off.shares.argmax() == 1 and off.shares[1] > 2 * true.shares[1]
    sizes = off.pixels / off.shares
    assert ((100 < sizes) & (sizes < 600)).all()


def test_two_cameras_are_compared_by_their_epipolar_lines():
    made = _made(degrees=2.0, off_cameras=(1,), cameras=2)
    poses = shared_poses(made.recording, made.rig.cameras)
    true, off = (disagreement(rig.cameras, poses) for rig in (made.true_rig, made.rig))
    assert true.by_pairs.all() and np.isfinite(true.shares).all()
    assert off.share > 1.3 * true.share


def test_a_camera_that_sees_nobody_has_no_disagreement():
    made = _made()
    poses = shared_poses(made.recording, made.true_rig.cameras)
    poses.scores[:, 2] = 0
    found = disagreement(made.true_rig.cameras, poses)
    assert np.isnan(found.shares[2]) and np.isnan(found.pixels[2]) and found.counts[2] == 0
    assert np.isfinite(found.share)


@pytest.mark.parametrize(
    "changes",
    [
        {"offsets_ms": (0, 130, -90, 45), "degrees": 0.5, "mm": 20.0},
        {"offsets_ms": (0, 900, -700, 0), "rates_hz": (25.0, 15.0, 20.0, 12.0)},
        {"offsets_ms": (0, 80, -80, 40), "fisheye": True},
        {"offsets_ms": (0, 100), "cameras": 2},
    ],
)
def test_offsets_are_found(changes):
    made = _made(**{"duration_s": 8.0, "rates_hz": 20.0, **changes})
    found = find_offsets(made.recording, made.rig)
    assert found.known.all()
    assert np.sqrt(np.mean((found.offsets_ms - made.offsets_ms) ** 2)) < 10.0
    assert found.offsets_ms[0] == 0 and (found.sigma_ms[1:] < 30).all()


def test_offsets_beyond_the_search_are_not_made_up():
    made = _made(duration_s=10.0, offsets_ms=(0, 4000, 0, 0))
    found = find_offsets(made.recording, made.rig, search_s=1.0)
    assert found.known.tolist() == [True, False, True, True]
    assert "or the offset is larger" in found.reasons[1]
    assert found.offsets_ms[1] == 0 and np.isinf(found.sigma_ms[1])


def test_of_people_who_stand_still_no_offset_is_known():
    made = _made(standing=True, offsets_ms=(0, 100, 0, 0))
    found = find_offsets(made.recording, made.rig)
    assert not found.known[1:].any()
    assert "stand still" in found.reasons[1]


def test_a_camera_that_shares_nobody_has_no_offset():
    made = _made()
    alone = dataclasses.replace(
        made.recording.cameras[3],
        people=tuple(np.zeros((0, 17, 3)) for _ in made.recording.cameras[3].people),
    )
    recording = dataclasses.replace(made.recording, cameras=(*made.recording.cameras[:3], alone))
    found = find_offsets(recording, made.rig)
    assert found.known.tolist() == [True, True, True, False]
    assert "too few people" in found.reasons[3]


def test_the_search_takes_the_offsets_that_fit_all_pairs():
    # The first pair alone would prefer -0.2; together with the others 0.1 and 0.3 fit.
    def table(one, other, *costs):
        full = np.zeros(21)
        for shift, cost in costs:
            full[10 + round(shift / 0.05)] = cost
        return OffsetTable(one, other, full)

    tables = [
        table(0, 1, (-0.2, -1.1), (0.1, -1.0)),
        table(0, 2, (0.3, -2.0)),
        table(1, 2, (0.2, -2.0)),
    ]
    offsets, clear = search_offsets(tables, 4)
    assert offsets == pytest.approx([0, 0.1, 0.3, 0])
    assert clear[1] == pytest.approx(2.0) and clear[3] == 0
