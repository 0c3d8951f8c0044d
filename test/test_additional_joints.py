"""Joints beyond those of the weights: triangulated robustly for each skeleton, whose body stays as it is."""

import dataclasses

import numpy as np
import pytest
import torch

from voxelpose_core.additional_joints import AdditionalJoints, triangulate_robustly
from voxelpose_core.datasets.people import sample_people
from voxelpose_core.detector_joint_sets import BODY25, COCO18, HALPE26, WHOLEBODY133, completed
from voxelpose_core.errors import InputError
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.pose_types import Skeleton, body_only
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import COCO17, get_joint_set
from voxelpose_core.tracking import Tracker


@pytest.fixture(scope="module")
def rig():
    return load_rig(find_resource("config/rigs/shelf.yaml"))


@pytest.fixture(scope="module")
def estimator(rig):
    return PoseEstimator(rig, device="cpu", detector=None)


def true_people(rig, count=2, seed=3):
    people = sample_people(count, torch.Generator().manual_seed(seed)).double().numpy()
    people[..., :2] += rig.space.center[:2] + 1200.0 * np.arange(count)[:, None, None]
    return people


def with_extras(people, joint_set, seed=0):
    """People (P, J, 3) whose additional joints lie up to 150 mm from the joint that they hang on."""
    rng = np.random.default_rng(seed)
    added = AdditionalJoints([], joint_set)
    full = np.zeros((len(people), len(joint_set), 3))
    full[:, list(joint_set.body)] = people
    for joint, anchor in zip(joint_set.additional, added.anchors):
        full[:, joint] = people[:, anchor].mean(axis=1) + rng.uniform(-85, 85, (len(people), 3))
    return full


def views_of(rig, people, noise=1.0, score=0.9):
    rng = np.random.default_rng(1)
    views = []
    for camera in rig.cameras:
        pixels = camera.project(people.reshape(-1, 3))[0].reshape(*people.shape[:2], 2)
        pixels = pixels + rng.normal(0, noise, pixels.shape)
        seen = camera.sees(people.reshape(-1, 3)).reshape(people.shape[:2])
        views.append(np.concatenate([pixels, np.where(seen, score, 0.0)[..., None]], axis=-1))
    return [view.astype(np.float32) for view in views]


def body_of(skeletons, joint_set):
    return [
        (s.joints[list(joint_set.body)], s.joint_scores[list(joint_set.body)], s.score) for s in skeletons
    ]


@pytest.mark.parametrize("joint_set", [HALPE26, BODY25, WHOLEBODY133], ids=lambda s: s.name)
def test_additional_joints_are_located_and_the_body_stays_bit_for_bit(rig, estimator, joint_set):
    full = with_extras(true_people(rig), joint_set)
    views = views_of(rig, full)
    plain = estimator.estimate_keypoints([joint_set.body_part(view) for view in views])
    extended = estimator.for_detections(joint_set).estimate_keypoints(views)
    assert len(plain.skeletons) == len(extended.skeletons) == 2
    for one, other in zip(plain.skeletons, extended.skeletons):
        body = list(joint_set.body)
        assert np.array_equal(other.joints[body], one.joints)
        assert np.array_equal(other.joint_covariances[body], one.joint_covariances)
        assert np.array_equal(other.joint_scores[body], one.joint_scores)
        assert other.score == one.score
        truth = full[np.linalg.norm(full[:, body] - one.joints, axis=-1).mean(axis=-1).argmin()]
        extra = list(joint_set.additional)
        valid = other.joint_valid[extra]
        assert valid.mean() > 0.9
        errors = np.linalg.norm(other.joints[extra] - truth[extra], axis=1)[valid]
        assert np.median(errors) < 8 and errors.max() < 40
        assert (other.joint_scores[extra][valid] > 0.5).all()
        deviations = np.sqrt(np.linalg.eigvalsh(other.joint_covariances[extra]))
        assert (deviations > 1).all() and np.median(deviations) < 60


def test_tracked_bodies_stay_bit_for_bit(rig, estimator):
    people = true_people(rig)
    own, other = Tracker(), Tracker(body=HALPE26.body)
    extended = estimator.for_detections(HALPE26)
    for step in range(4):
        full = with_extras(people + 20.0 * step, HALPE26, seed=step)
        views, stamp = views_of(rig, full), 0.04 * step
        if step == 2:
            views[0] = views[1] = None
        bodies = [None if view is None else HALPE26.body_part(view) for view in views]
        plain = estimator.estimate_keypoints(bodies, own.predict(stamp))
        estimate = extended.estimate_keypoints(views, other.predict(stamp))
        expected = own.update(plain.skeletons, stamp)
        estimate.skeletons = other.update(estimate.skeletons, stamp)
        for one, two in zip(expected, body_only(estimate, HALPE26).skeletons, strict=True):
            assert one.track_id == two.track_id
            assert np.array_equal(one.joints, two.joints)
            assert np.array_equal(one.joint_velocities, two.joint_velocities)
            assert np.array_equal(one.joint_covariances, two.joint_covariances)


def test_a_view_that_disagrees_is_dropped(rig, estimator):
    full = with_extras(true_people(rig, 1), HALPE26)
    views = views_of(rig, full, noise=0.0)
    toe = HALPE26.index("left_big_toe")
    views[1][0, toe, :2] += 60.0
    (skeleton,) = estimator.for_detections(HALPE26).estimate_keypoints(views).skeletons
    assert skeleton.joint_valid[toe]
    assert np.linalg.norm(skeleton.joints[toe] - full[0, toe]) < 3
    # The view that disagrees counts 0 in the mean.
    assert skeleton.joint_scores[toe] == pytest.approx(0.9 * 4 / 5, abs=1e-3)


def test_a_joint_on_which_no_two_views_agree_is_not_valid(rig, estimator):
    full = with_extras(true_people(rig, 1), HALPE26)
    views = views_of(rig, full, noise=0.0)
    toe, heel = HALPE26.index("left_big_toe"), HALPE26.index("right_heel")
    for view in views[1:]:
        view[0, toe, 2] = 0.0
    for index, view in enumerate(views):
        # Each looks elsewhere: no two rays pass within reach of the foot.
        view[0, heel, :2] += 400.0 * np.array([np.cos(1.3 * index), np.sin(1.3 * index)])
    (skeleton,) = estimator.for_detections(HALPE26).estimate_keypoints(views).skeletons
    for joint, ankle in ((toe, "left_ankle"), (heel, "right_ankle")):
        assert not skeleton.joint_valid[joint] and skeleton.joint_scores[joint] == 0
        assert np.array_equal(skeleton.joints[joint], skeleton.joints[HALPE26.index(ankle)])
        assert np.allclose(skeleton.joint_covariances[joint], 200.0**2 * np.eye(3))


def test_detections_without_a_face_are_enough(rig, estimator):
    people = true_people(rig, 1)
    campus = get_joint_set("campus14")
    joint_set = completed(campus)
    assert joint_set.name == "campus14+coco17" and get_joint_set(joint_set.name) == joint_set
    names = [name for name in campus.joint_names if name in COCO17.joint_names]
    views = []
    for view in views_of(rig, people):
        own = np.zeros((1, 14, 3), np.float32)
        own[:, [campus.index(name) for name in names]] = view[:, [COCO17.index(name) for name in names]]
        views.append(own)
    (skeleton,) = estimator.for_detections(campus).estimate_keypoints(views).skeletons
    assert len(skeleton.joints) == len(joint_set) == 19
    found = skeleton.joints[[joint_set.index(name) for name in names]]
    assert np.linalg.norm(found - people[0, [COCO17.index(name) for name in names]], axis=1).mean() < 40


def test_detections_without_legs_are_refused(estimator):
    upper = dataclasses.replace(COCO17, name="upper13", joint_names=COCO17.joint_names[:13])
    with pytest.raises(InputError, match="'upper13' of 13 joints lacks left_knee, right_knee, left_ankle"):
        estimator.for_detections(upper)


def test_triangulation_weighs_views_by_their_scores():
    centers = np.array([[-3000.0, 0, 0], [3000, 0, 0], [0, 0, 3000]])
    point = np.array([0.0, 2500, 200])
    directions = point - centers
    directions[2, 0] += 40.0
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True))[:, None]
    errors = []
    for score in (1.0, 0.1):
        found, _, scores = triangulate_robustly(centers, directions, np.array([[1.0], [1.0], [score]]))
        errors.append(np.linalg.norm(found[0] - point))
        assert scores[0] == pytest.approx((2 + score) / 3)
    assert errors[1] < 0.5 * errors[0]


def test_nobody_and_weights_without_covariances(rig):
    added = AdditionalJoints(rig.cameras, COCO18)
    assert added.added([], [None] * 5, 0.1, 0.05) == []
    people = true_people(rig, 1)
    skeleton = Skeleton(people[0], np.ones(17), np.ones(17, bool), 0.9)
    (extended,) = added.added([skeleton], views_of(rig, with_extras(people, COCO18)), 0.1, 0.05)
    assert extended.joints.shape == (18, 3) and extended.joint_covariances is None
    assert extended.joint_valid.all()
    (alone,) = added.added([skeleton], [None] * 5, 0.1, 0.05)
    assert not alone.joint_valid[COCO18.index("neck")]
