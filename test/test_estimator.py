"""PoseEstimator with the shipped voxel nets: people whom nobody trained on, in a rig never seen."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from voxelpose_core.datasets.people import sample_people
from voxelpose_core.errors import InputError
from voxelpose_core.estimator import EstimatorSettings, PoseEstimator
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.processor import native_dtype
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import COCO17
from voxelpose_core.voxel import bindings

PLACES = ((0.0, -300.0), (1300.0, 700.0))


@pytest.fixture(scope="module")
def rig():
    rig = load_rig(find_resource("config/rigs/shelf.yaml"))
    return rig.with_space(Space((450, 0, 1000), (4000, 4000, 2000)))


@pytest.fixture(scope="module")
def estimator(rig):
    return PoseEstimator(rig, "voxelpose", device="cpu", detector=None)


def people(seed=4):
    """Two people on their feet, (2, 17, 3), mm."""
    drawn = sample_people(60, torch.Generator().manual_seed(seed), child_share=0.0).double().numpy()
    standing = drawn[(drawn[:, 0, 2] > 1400) & (drawn[:, 0, 2] < 1750)][:2]
    for joints, place in zip(standing, PLACES, strict=True):
        joints[:, :2] += place
    return standing


def keypoints_of(rig, persons, noise=1.0):
    """What a good detector would see: (P, 17, 3) a camera."""
    random = np.random.default_rng(0)
    views = []
    for camera in rig.cameras:
        view = np.zeros((len(persons), 17, 3), np.float32)
        for index, joints in enumerate(persons):
            seen = camera.sees(joints)
            view[index, :, :2] = camera.project(joints)[0] + random.normal(0, noise, (17, 2))
            view[index, :, 2] = 0.9 * seen
        views.append(view)
    return views


def errors(estimate, persons):
    """Mean joint error in mm of the best skeleton for each person."""
    return [
        min(np.linalg.norm(s.joints - joints, axis=1).mean() for s in estimate.skeletons)
        for joints in persons
    ]


def pairs(one, other):
    """(P, 17, 3) joints of the same people of two estimates."""
    assert len(one.skeletons) == len(other.skeletons) == 2
    return tuple(np.stack([s.joints for s in e.skeletons]) for e in (one, other))


def has_border_nearby(rig, joints, reach=150.0):
    """(P, 17): an image's border passes through the neighbourhood that refinement looks at.

    A border is a step: a view counts in a voxel's mean on one side of it only. Where a voxel projects
    onto the border to a thousandth of a pixel, the last digit decides, and refinement, to which this
    voxel may be the best or none, moves the joint by a millimetre.
    """
    corners = joints[..., None, :] + reach * np.array(list(itertools.product((-1, 1), repeat=3)))
    seen = np.stack([c.sees(corners.reshape(-1, 3)).reshape(corners.shape[:3]) for c in rig.cameras])
    return (seen.any(axis=-1) & ~seen.all(axis=-1)).any(axis=0)


def test_finds_two_people(estimator, rig):
    persons = people()
    estimate = estimator.estimate_keypoints(keypoints_of(rig, persons))
    assert len(estimate.skeletons) == 2
    assert max(errors(estimate, persons)) < 60
    assert estimate.cameras == rig.names
    assert list(estimate.timings_ms) == ["heatmaps", "proposals", "poses"]
    for skeleton in estimate.skeletons:
        assert skeleton.joints.shape == (17, 3) and skeleton.joint_valid.all()
        assert 0 < skeleton.score <= 1 and skeleton.joint_scores.max() <= 1
        assert abs(COCO17.root_of(skeleton.joints)[2] - skeleton.joints[[11, 12], 2].mean()) < 1e-6


def estimator_with(rig, **settings):
    return PoseEstimator(
        rig, "voxelpose", device="cpu", detector=None, settings=EstimatorSettings(**settings)
    )


def test_the_second_look_finds_whom_the_first_one_missed(rig):
    persons = people()
    keypoints = keypoints_of(rig, persons)
    # No root score exceeds 2.
    first = estimator_with(rig, proposal_threshold=2.0, second_look=False)
    assert first.estimate_keypoints(keypoints).skeletons == []
    both = estimator_with(rig, proposal_threshold=2.0).estimate_keypoints(keypoints)
    assert len(both.skeletons) == 2
    assert max(errors(both, persons)) < 60


def test_the_second_look_needs_two_views(rig):
    """One person in sight of all cameras, one in a single camera's, one false one in another."""
    persons = people()
    keypoints = keypoints_of(rig, persons)
    for view in keypoints[1:]:
        view[1, :, 2] = 0
    # So far aside that no pose shows these two: at 250 px one would.
    keypoints[2][1] = keypoints[2][0] + [400.0, 90.0, 0.0]
    estimate = estimator_with(rig).estimate_keypoints(keypoints)
    assert len(estimate.skeletons) == 1
    assert errors(estimate, persons)[0] < 60


def test_the_second_look_keeps_to_the_limit(rig):
    estimator = estimator_with(rig, proposal_threshold=2.0, max_people=1)
    assert len(estimator.estimate_keypoints(keypoints_of(rig, people())).skeletons) == 1


def test_confidence_moves_nobody(estimator, rig):
    """Scores tell whether somebody is there, not where."""
    persons = people()
    keypoints = keypoints_of(rig, persons)
    sure = estimator.estimate_keypoints(keypoints)
    random = np.random.default_rng(1)
    for view in keypoints:
        view[..., 2] *= random.uniform(0.5, 1.0, view.shape[:2])
    unsure = estimator.estimate_keypoints(keypoints)
    for joints in persons:
        one, other = (
            min(e.skeletons, key=lambda s: np.linalg.norm(s.joints - joints)) for e in (sure, unsure)
        )
        assert np.linalg.norm(one.joints - other.joints, axis=1).max() < 15
        assert one.joint_scores.mean() > 1.2 * other.joint_scores.mean()


def test_only_people_off_their_box_are_regressed_again(rig, monkeypatch):
    estimator = estimator_with(rig, recenter_distance=60.0)
    regressed = []
    regress = estimator.people.nets._regress

    def count(heatmaps, views, centers, settings):
        regressed.append(len(centers))
        return regress(heatmaps, views, centers, settings)

    monkeypatch.setattr(estimator.people.nets, "_regress", count)
    keypoints = keypoints_of(rig, people())
    estimator.estimate_keypoints(keypoints)
    assert regressed == [2]
    estimator.settings = EstimatorSettings(recenter_distance=0.0)
    estimator.estimate_keypoints(keypoints)
    assert regressed == [2, 2, 2]


def distances_from_boxes(rig, persons):
    """Of each person's mid-hip from the proposal, mm."""
    estimator = estimator_with(rig, recenter=False, refine=False)
    centers = []
    regress = estimator.people.nets._regress
    estimator.people.nets._regress = lambda h, v, c, s: centers.append(c.numpy()) or regress(h, v, c, s)
    found = estimator.estimate_keypoints(keypoints_of(rig, persons)).skeletons
    roots = np.array([COCO17.root_of(skeleton.joints) for skeleton in found])
    distances = np.linalg.norm(roots[:, None] - centers[0], axis=-1).min(axis=1)
    assert len(distances) == len(persons) and np.ptp(distances) > 1
    return distances


def test_buckets_of_people_change_nobody(rig, monkeypatch):
    """GPUs compute for some people more than there are, so that shapes repeat."""
    persons = people()
    # One of the two is to be regressed again: who lies farther off his box.
    settings = EstimatorSettings(recenter_distance=np.mean(distances_from_boxes(rig, persons)))
    answers, sizes = [], []
    for bucket in (lambda count, most: count, lambda count, most: min(most, 4 * count)):
        estimator = PoseEstimator(rig, "voxelpose", device="cpu", detector=None, settings=settings)
        monkeypatch.setattr(estimator.people.nets, "_bucket", bucket)
        regress = estimator.people.nets._regress
        monkeypatch.setattr(
            estimator.people.nets,
            "_regress",
            lambda h, v, c, s, r=regress: sizes.append(len(c)) or r(h, v, c, s),
        )
        answers.append(estimator.estimate_keypoints(keypoints_of(rig, persons)).skeletons)
    assert len(answers[0]) == len(answers[1]) == 2
    assert sizes == [2, 1, 8, 4]
    for one, other in zip(*answers, strict=True):
        np.testing.assert_allclose(one.joints, other.joints, atol=0.5)


def test_a_camera_without_a_frame(estimator, rig):
    persons = people()
    keypoints = keypoints_of(rig, persons)
    keypoints[1] = None
    estimate = estimator.estimate_keypoints(keypoints)
    assert rig.names[1] not in estimate.cameras and len(estimate.cameras) == 4
    assert max(errors(estimate, persons)) < 90


@pytest.mark.skipif(
    native_dtype(torch.device("cpu")) == torch.float32,
    reason="this processor emulates bfloat16, in minutes; precision 'auto' computes in float32 here",
)
def test_bfloat16_stays_within_two_millimetres(rig):
    keypoints = keypoints_of(rig, people())
    answers = [
        PoseEstimator(rig, "voxelpose", device="cpu", detector=None, precision=precision).estimate_keypoints(
            keypoints
        )
        for precision in ("float32", "bfloat16")
    ]
    full, half = pairs(*answers)
    assert np.linalg.norm(full - half, axis=-1).max() < 2.0


@pytest.mark.parametrize("refine", [False, True])
def test_the_reference_kernel_gives_the_same_people(rig, refine):
    settings = EstimatorSettings(refine=refine)
    estimator = PoseEstimator(
        rig, "voxelpose", device="cpu", detector=None, precision="float32", settings=settings
    )
    keypoints = keypoints_of(rig, people())
    ours = estimator.estimate_keypoints(keypoints)
    with bindings.use(bindings.REFERENCE):
        reference = estimator.estimate_keypoints(keypoints)
        assert estimator.description()["voxel_kernel"] == bindings.REFERENCE
    one, other = pairs(ours, reference)
    tied = has_border_nearby(rig, one) if refine else np.zeros(one.shape[:2], bool)
    assert tied.mean() < 0.5
    assert np.linalg.norm(one - other, axis=-1)[~tied].max() < 0.05


def test_people_in_several_calls_of_the_pose_net(rig, monkeypatch):
    persons = people()
    settings = EstimatorSettings(recenter=False, refine=False)
    estimator = PoseEstimator(rig, "voxelpose", device="cpu", detector=None, settings=settings)
    together = estimator.estimate_keypoints(keypoints_of(rig, persons))
    monkeypatch.setattr("voxelpose_core.heatmap_people._VOXELS_AT_ONCE", 1)
    apart = estimator.estimate_keypoints(keypoints_of(rig, persons))
    assert len(together.skeletons) == 2
    for one, other in zip(together.skeletons, apart.skeletons, strict=True):
        np.testing.assert_allclose(one.joints, other.joints, atol=0.5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "auto"])
@pytest.mark.parametrize("refine", [False, True])
def test_a_gpu_finds_the_same_people(rig, precision, refine):
    keypoints = keypoints_of(rig, people())
    settings = EstimatorSettings(refine=refine)
    answers = [
        PoseEstimator(
            rig, "voxelpose", device=device, detector=None, precision=p, settings=settings
        ).estimate_keypoints(keypoints)
        for device, p in (("cpu", "float32"), ("cuda", precision))
    ]
    one, other = pairs(*answers)
    tied = has_border_nearby(rig, one) if refine else np.zeros(one.shape[:2], bool)
    assert np.linalg.norm(one - other, axis=-1)[~tied].max() < 2.0


def test_warm_up_changes_nothing(estimator, rig):
    keypoints = keypoints_of(rig, people())
    before = estimator.estimate_keypoints(keypoints)
    estimator.warm_up()
    after = estimator.estimate_keypoints(keypoints)
    for one, other in zip(before.skeletons, after.skeletons, strict=True):
        np.testing.assert_allclose(one.joints, other.joints, atol=1e-3)


def test_a_new_calibration_is_that_of_a_new_estimator(estimator, rig):
    persons = people()
    shift = np.array([800.0, -300.0, 0.0])
    moved = dataclasses.replace(
        rig,
        cameras=tuple(dataclasses.replace(c, C=c.C + shift) for c in rig.cameras),
        space=Space(rig.space.center + shift, rig.space.size),
    )
    keypoints = keypoints_of(rig, persons)
    found = estimator.recalibrated(moved).estimate_keypoints(keypoints)
    expected = estimator.estimate_keypoints(keypoints)
    assert len(found.skeletons) == len(expected.skeletons) > 0
    for one, other in zip(found.skeletons, expected.skeletons):
        np.testing.assert_allclose(one.joints, other.joints + shift, atol=2.0)
    with pytest.raises(InputError, match="has the cameras"):
        estimator.recalibrated(rig.select(rig.names[:-1]))


def test_description_says_what_runs(estimator):
    description = estimator.description()
    assert description["voxel_kernel"] in ("cpp", bindings.REFERENCE)
    assert description["precision"] in ("float32", "bfloat16")


def test_one_view_with_people_is_too_few(estimator, rig):
    keypoints = keypoints_of(rig, people())
    alone = [keypoints[0]] + [np.zeros((0, 17, 3))] * 4
    estimate = estimator.estimate_keypoints(alone)
    assert estimate.skeletons == [] and "proposals" not in estimate.timings_ms


def test_nobody(estimator, rig):
    assert estimator.estimate_keypoints([np.zeros((0, 17, 3))] * 5).skeletons == []


def test_too_few_cameras_give_nobody(estimator, rig):
    keypoints = keypoints_of(rig, people())
    estimate = estimator.estimate_keypoints([keypoints[0], None, None, None, None])
    assert estimate.skeletons == [] and estimate.cameras == (rig.names[0],)


def test_unusable_keypoints_count_as_missing(estimator, rig):
    persons = people()
    keypoints = keypoints_of(rig, persons)
    keypoints[0][0, 3] = np.nan
    keypoints[2][1, 5] = (1e30, -np.inf, 0.5)
    estimate = estimator.estimate_keypoints(keypoints)
    assert all(np.isfinite(s.joints).all() for s in estimate.skeletons)
    assert max(errors(estimate, persons)) < 60


def test_support_threshold_drops_people(estimator, rig):
    keypoints = keypoints_of(rig, people())
    strict = estimator_with(rig, support_threshold=1.0, second_look=False)
    assert strict.estimate_keypoints(keypoints).skeletons == []


@pytest.mark.parametrize(
    "keypoints, words",
    [
        ([None] * 4, ["4 keypoint arrays", "5 cameras"]),
        ([np.zeros((1, 15, 3))] + [None] * 4, ["camera0", "(1, 15, 3)", "17"]),
        ([np.zeros((17, 3))] + [None] * 4, ["camera0", "(17, 3)"]),
    ],
)
def test_bad_keypoints_are_named(estimator, keypoints, words):
    with pytest.raises(InputError) as caught:
        estimator.estimate_keypoints(keypoints)
    for word in words:
        assert word in str(caught.value)


class Nobody:
    joint_set = COCO17

    def detect(self, images):
        return [np.zeros((0, 17, 3), np.float32) for _ in images]


def test_bad_images_are_named(rig):
    estimator = PoseEstimator(rig, "voxelpose", device="cpu", detector=Nobody())
    image = np.zeros((776, 1032, 3), np.uint8)
    assert estimator.estimate_images([image] * 5).skeletons == []
    for bad, words in (
        (np.zeros((480, 640, 3), np.uint8), ["camera2", "640x480", "1032x776"]),
        (np.zeros((776, 1032), np.uint8), ["camera2", "BGR"]),
        (np.zeros((776, 1032, 3), np.float32), ["camera2", "float32"]),
    ):
        with pytest.raises(InputError) as caught:
            estimator.estimate_images([image, None, bad, None, None])
        for word in words:
            assert word in str(caught.value)


@pytest.mark.parametrize(
    "options, word",
    [
        ({"device": "cuda:99"}, "cuda:99"),
        ({"device": "abacus"}, "abacus"),
        ({"weights": "nothing"}, "nothing"),
        ({"detector": "crystal_ball"}, "crystal_ball"),
        ({"precision": "float8"}, "float8"),
    ],
)
def test_bad_arguments_are_named(rig, options, word):
    with pytest.raises(InputError, match=word):
        PoseEstimator(rig, **options)


def test_people_below_the_floor_are_counted_and_ground_lets_them_in(rig):
    """Someone who lies calibrated 600 mm above the floor that people stand on."""
    persons = people() - [0.0, 0.0, 600.0]
    keypoints = keypoints_of(rig, persons)
    rig = dataclasses.replace(rig, space=None)
    space = Space((450, 0, 1000), (4000, 4000, 2000))
    estimate = PoseEstimator(rig.with_space(space), device="cpu", detector=None)
    estimate = estimate.estimate_keypoints(keypoints)
    assert estimate.dropped_below_floor == len(estimate.below_floor) >= 1
    assert all(s.joints[:, 2].min() < -300 for s in estimate.below_floor)
    assert all(s.joints[:, 2].min() >= -300 for s in estimate.skeletons)

    lower = PoseEstimator(rig.with_space(space).with_ground(-600.0), device="cpu", detector=None)
    assert lower.space.low[2] == -600 and lower.floor == -600
    estimate = lower.estimate_keypoints(keypoints)
    assert len(estimate.skeletons) == 2 and estimate.dropped_below_floor == 0
    assert max(errors(estimate, persons)) < 60
