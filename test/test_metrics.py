"""Metrics against cases computed by hand."""

import math

import numpy as np
import pytest

from voxelpose_core.errors import InputError
from voxelpose_core.metrics import (
    TrackingEvaluation,
    campus14_from_coco17,
    evaluate_detections,
    evaluate_pcp,
    mpjpe,
    pose_distances,
)
from voxelpose_core.skeletons import CAMPUS14, COCO17

# A person 1.7 m tall at the origin, campus14, mm: parts have round lengths.
STANDING = np.array(
    [
        [0, -100, 100],  # right ankle
        [0, -100, 500],
        [0, -100, 900],  # right hip
        [0, 100, 900],
        [0, 100, 500],
        [0, 100, 100],  # left ankle
        [0, -400, 900],  # right wrist
        [0, -300, 1150],
        [0, -200, 1400],  # right shoulder
        [0, 200, 1400],
        [0, 300, 1150],
        [0, 400, 900],  # left wrist
        [0, 0, 1500],  # head bottom
        [0, 0, 1700],  # head top
    ],
    dtype=float,
)
NOBODY = np.full((14, 3), np.nan)
NONE = np.zeros((0, 14, 3))


def moved(x=0.0, y=0.0, z=0.0, pose=STANDING):
    return pose + [x, y, z]


def frames(*people):
    """(F, A, 14, 3) from per-frame tuples of actors."""
    return np.array([np.array(frame) for frame in people])


# --- MPJPE ------------------------------------------------------------------------------------


def test_mpjpe_of_visible_joints():
    prediction = STANDING.copy()
    prediction[0] += [30, 40, 0]
    assert mpjpe(prediction, STANDING) == pytest.approx(50 / 14)
    visible = np.zeros(14, dtype=bool)
    assert math.isnan(mpjpe(prediction, STANDING, visible))
    visible[:2] = True
    assert mpjpe(prediction, STANDING, visible) == pytest.approx(25)


def test_pose_distances_leave_out_unpredicted_joints():
    partial = moved(x=100)
    partial[5:] = np.nan
    empty = np.full((14, 3), np.nan)
    distances = pose_distances(np.array([partial, empty]), np.array([STANDING, moved(y=100)]))
    assert distances[0] == pytest.approx([100, 100 * math.sqrt(2)])
    assert np.isinf(distances[1]).all()
    assert pose_distances(np.zeros((0, 14, 3)), STANDING[None]).shape == (0, 1)


# --- PCP --------------------------------------------------------------------------------------


def test_pcp_of_perfect_predictions():
    actors = frames((STANDING, moved(x=2000)), (STANDING, NOBODY))
    result = evaluate_pcp([actors[0], actors[1, :1]], actors)
    assert result.actors == (1.0, 1.0) and result.average == 1.0
    assert result.frames == (2, 1)
    assert result.recall_500 == 1.0 and result.false_positives_per_frame == 0.0


def test_pcp_by_part_length():
    # All ends are off by 110 mm: only the head, 200 mm long, allows no more than 100 mm.
    result = evaluate_pcp([moved(x=110)[None]], frames((STANDING,)))
    assert result.actors[0] == pytest.approx(0.9)
    assert result.groups["head"] == (0.0,)
    assert all(result.groups[g] == (1.0,) for g in result.groups if g != "head")
    # 150 mm: arms (269 mm, allowing 135 mm) fail too, legs (400 mm) and torso (600 mm) hold.
    result = evaluate_pcp([moved(x=150)[None]], frames((STANDING,)))
    assert result.actors[0] == pytest.approx(0.5)
    assert result.groups["upper_arms"] == result.groups["lower_arms"] == (0.0,)
    assert result.groups["upper_legs"] == result.groups["lower_legs"] == (1.0,)
    assert result.groups["torso"] == (1.0,)


def test_pcp_takes_the_mean_of_both_ends_and_counts_the_limit_as_correct():
    prediction = STANDING.copy()
    prediction[CAMPUS14.index("right_ankle")] += [400, 0, 0]
    # Lower leg: (400 + 0) / 2 = 200 = 0.5 * 400.
    assert evaluate_pcp([prediction[None]], frames((STANDING,))).actors == (1.0,)
    prediction[CAMPUS14.index("right_ankle")] += [2, 0, 0]
    result = evaluate_pcp([prediction[None]], frames((STANDING,)))
    assert result.groups["lower_legs"] == (0.5,) and result.actors[0] == pytest.approx(0.9)


def test_pcp_torso_runs_from_mid_hip_to_head_bottom():
    prediction = STANDING.copy()
    # The hips swap sides: their middle stays.
    prediction[[2, 3]] = prediction[[3, 2]]
    result = evaluate_pcp([prediction[None]], frames((STANDING,)), alpha=0.1)
    assert result.groups["torso"] == (1.0,) and result.groups["upper_legs"] == (0.0,)


def test_pcp_counts_frames_without_predictions_as_misses():
    actors = frames((STANDING,), (STANDING,))
    result = evaluate_pcp([STANDING[None], NONE], actors)
    assert result.actors == (0.5,) and result.recall_500 == 0.5
    result = evaluate_pcp([NONE, []], actors)
    assert result.actors == (0.0,) and result.average == 0.0


def test_pcp_nearest_rule_shares_a_prediction_and_one_to_one_does_not():
    actors = frames((STANDING, moved(x=50)))
    shared = evaluate_pcp([STANDING[None]], actors)
    assert shared.actors == (1.0, 1.0)
    single = evaluate_pcp([STANDING[None]], actors, one_to_one=True)
    assert single.actors == (1.0, 0.0)
    both = evaluate_pcp([actors[0]], actors, one_to_one=True)
    assert both.actors == (1.0, 1.0)


def test_pcp_with_more_predictions_than_people():
    predictions = np.array([moved(x=3000), moved(x=10), moved(x=-3000)])
    for one_to_one in (False, True):
        result = evaluate_pcp([predictions], frames((STANDING,)), one_to_one=one_to_one)
        assert result.actors == (1.0,) and result.false_positives_per_frame == 2.0


def test_pcp_averages_the_first_three_actors_that_are_labelled():
    actors = frames((STANDING, NOBODY, moved(x=2000), moved(x=4000)))
    result = evaluate_pcp(
        [
            STANDING[None],
        ][:1],
        actors,
    )
    assert result.actors[0] == 1.0 and math.isnan(result.actors[1])
    assert result.actors[2] == 0.0 and result.actors[3] == 0.0
    assert result.average == 0.5
    empty = evaluate_pcp([NONE], frames((NOBODY,)))
    assert math.isnan(empty.average) and math.isnan(empty.recall_500)


def test_pcp_counts_missing_joints_as_wrong():
    prediction = STANDING.copy()
    prediction[CAMPUS14.index("left_wrist")] = np.nan
    result = evaluate_pcp([prediction[None]], frames((STANDING,)))
    assert result.groups["lower_arms"] == (0.5,) and result.actors[0] == pytest.approx(0.9)


def test_pcp_refuses_wrong_shapes():
    with pytest.raises(InputError, match="expected 1"):
        evaluate_pcp([], frames((STANDING,)))
    with pytest.raises(InputError, match=r"prediction 0 .*expected \(P, 14, 3\)"):
        evaluate_pcp([np.zeros((1, 17, 3))], frames((STANDING,)))
    with pytest.raises(InputError, match=r"expected \(F, A, 14, 3\)"):
        evaluate_pcp([NONE], STANDING[None])


def coco_pose():
    pose = np.zeros((17, 3))
    for joint in CAMPUS14.joint_names[:-2]:
        pose[COCO17.index(joint)] = STANDING[CAMPUS14.index(joint)]
    pose[COCO17.index("nose")] = [100, 0, 1560]
    pose[COCO17.index("left_ear")] = [0, 80, 1600]
    pose[COCO17.index("right_ear")] = [0, -80, 1600]
    return pose


def test_coco17_to_campus14():
    for dataset in ("campus", "shelf"):
        pose = campus14_from_coco17(coco_pose(), dataset)
        assert np.array_equal(pose[:12], STANDING[:12])
    head = campus14_from_coco17(coco_pose(), "campus")[12:]
    # Neck (0, 0, 1400), ears (0, 0, 1600): bottom half way, top as far above the ears.
    assert head == pytest.approx(np.array([[0, 0, 1500], [0, 0, 1700]]))
    head = campus14_from_coco17(coco_pose(), "shelf")[12:]
    # Nose is (100, 0, 160) from the neck: 3/4 of (50, 0, 1480) and 1/4 of (0, 0, 1500); 3/4 of
    # (75, 0, 1640) and 1/4 of (0, 0, 1700).
    assert head == pytest.approx(np.array([[37.5, 0, 1485], [56.25, 0, 1655]]))
    assert campus14_from_coco17(np.zeros((3, 2, 17, 3))).shape == (3, 2, 14, 3)
    with pytest.raises(InputError, match="expected campus or shelf"):
        campus14_from_coco17(coco_pose(), "panoptic")


# --- AP, recall, MPJPE --------------------------------------------------------------------------


def evaluate(predictions, scores, truths, **options):
    return evaluate_detections(
        [np.array(p).reshape(-1, 14, 3) for p in predictions],
        [np.array(s, dtype=float) for s in scores],
        [np.array(t).reshape(-1, 14, 3) for t in truths],
        **options,
    )


def test_ap_of_perfect_predictions():
    result = evaluate(
        [[STANDING, moved(x=900)], [STANDING]],
        [[1, 0.5], [0.9]],
        [[STANDING, moved(x=900)], [STANDING]],
    )
    assert all(ap == 1.0 for ap in result.ap.values()) and list(result.ap) == [
        25,
        50,
        75,
        100,
        125,
        150,
    ]
    assert result.mpjpe == 0 and result.recall_500 == 1 and result.mean_ap == 1
    assert result.people == 3 and result.predictions == 3


def test_ap_by_hand():
    # Three people. By score: right (0 mm), false, right (60 mm); the third is never found.
    truths = [[STANDING], [moved(x=1000)], [STANDING]]
    predictions = [[STANDING], [moved(x=5000), moved(x=1060)], []]
    result = evaluate(predictions, [[0.9], [0.8, 0.7], []], truths)
    assert result.ap[25] == result.ap[50] == pytest.approx(1 / 3)
    # Precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3: 1/3 * 1 + 1/3 * 2/3.
    assert result.ap[75] == pytest.approx(1 / 3 + 2 / 9)
    assert result.recall[50] == pytest.approx(1 / 3) and result.recall[75] == pytest.approx(2 / 3)
    assert result.recall_500 == pytest.approx(2 / 3)
    assert result.mpjpe == pytest.approx(30)
    assert result.false_positives_per_frame == pytest.approx(1 / 3)


def test_ap_counts_a_second_prediction_of_a_person_as_false():
    # The better of the two has the lower score: it comes too late.
    result = evaluate([[moved(x=40), moved(x=10)]], [[0.9, 0.8]], [[STANDING]])
    assert result.ap[50] == 1.0 and result.mpjpe == pytest.approx(40)
    # At 25 mm the first is false and the second right: precision 1/2 at recall 1.
    assert result.ap[25] == 0.5


def test_ap_one_to_one_lets_the_second_prediction_find_the_second_person():
    # Both predictions are nearest to the first person.
    truths = [[STANDING, moved(x=200)]]
    predictions = [[moved(x=20), moved(x=80)]]
    nearest = evaluate(predictions, [[0.9, 0.8]], truths)
    assert nearest.recall[150] == 0.5
    single = evaluate(predictions, [[0.9, 0.8]], truths, one_to_one=True)
    assert single.recall[150] == 1.0 and single.mpjpe == pytest.approx((20 + 120) / 2)


def test_ap_uses_visible_joints_only():
    prediction = STANDING.copy()
    prediction[0] += [1400, 0, 0]
    visible = np.ones((1, 14), dtype=bool)
    assert evaluate([[prediction]], [[1]], [[STANDING]]).ap[75] == 0.0
    visible[0, 0] = False
    result = evaluate([[prediction]], [[1]], [[STANDING]], visible=[visible])
    assert result.ap[25] == 1.0 and result.mpjpe == 0.0


def test_ap_of_empty_frames():
    nothing = evaluate([[], []], [[], []], [[STANDING], []])
    assert nothing.ap[150] == 0.0 and nothing.recall_500 == 0.0 and math.isnan(nothing.mpjpe)
    phantom = evaluate([[STANDING], [STANDING]], [[0.5], [0.9]], [[STANDING], []])
    # The phantom of the empty frame has the higher score: precision 1/2 at recall 1.
    assert phantom.ap[25] == 0.5 and phantom.false_positives_per_frame == 0.5
    no_truth = evaluate([[]], [[]], [[]])
    assert math.isnan(no_truth.ap[25]) and no_truth.people == 0
    with pytest.raises(InputError, match="equally many"):
        evaluate([[]], [[]], [])


def people_at(*places):
    """(P, 2, 3) people of two joints."""
    return np.array([[[x, 0.0, 0.0], [x, 0.0, 1000.0]] for x in places]).reshape(-1, 2, 3)


def evaluate_tracks(*frame_sets, limit=500.0):
    """Frame sets of (true ids and places, track ids and places)."""
    evaluation = TrackingEvaluation(limit)
    for truths, tracks in frame_sets:
        evaluation.add(list(truths), people_at(*truths.values()), list(tracks), people_at(*tracks.values()))
    return evaluation.result()


def test_perfect_tracking():
    found = evaluate_tracks(*[({7: 0, 8: 2000}, {1: 2010, 0: 10})] * 5)
    assert (found.truths, found.misses, found.false_positives, found.switches) == (10, 0, 0, 0)
    assert found.mota == found.idf1 == 1.0


def test_a_switch_a_miss_and_a_phantom_by_hand():
    found = evaluate_tracks(
        ({0: 0, 1: 2000}, {10: 0, 11: 2000}),
        ({0: 0, 1: 2000}, {10: 0}),  # 1 is missed
        ({0: 0, 1: 2000}, {10: 0, 12: 2000}),  # and comes back with another number
        ({0: 0, 1: 2000}, {10: 0, 12: 2000, 13: 5000}),  # and a phantom
    )
    assert (found.truths, found.misses, found.false_positives, found.switches) == (8, 1, 1, 1)
    assert found.mota == pytest.approx(1 - 3 / 8)
    # 10 agrees with 0 four times, 12 with 1 twice: 6 of 8 people and of 8 tracks.
    assert found.idf1 == pytest.approx(2 * 6 / (8 + 8))


def test_two_people_who_exchange_their_numbers_by_hand():
    found = evaluate_tracks(
        *[({0: 0, 1: 2000}, {10: 0, 11: 2000})] * 3, *[({0: 0, 1: 2000}, {10: 2000, 11: 0})] * 2
    )
    assert found.switches == 2
    assert found.mota == pytest.approx(1 - 2 / 10)
    assert found.idf1 == pytest.approx(2 * 6 / 20)


def test_a_track_that_was_right_stays_while_it_is_near():
    """CLEAR MOT: the nearer newcomer is a false positive, not a switch."""
    found = evaluate_tracks(({0: 0}, {10: 0}), ({0: 0}, {10: 300, 11: 0}))
    assert (found.misses, found.false_positives, found.switches) == (0, 1, 0)
    found = evaluate_tracks(({0: 0}, {10: 0}), ({0: 0}, {10: 600, 11: 0}))
    assert (found.misses, found.false_positives, found.switches) == (0, 1, 1)


def test_a_gap_does_not_hide_a_switch():
    found = evaluate_tracks(({0: 0}, {10: 0}), ({}, {}), ({0: 0}, {}), ({0: 0}, {11: 0}))
    assert (found.truths, found.misses, found.switches) == (3, 1, 1)


def test_tracks_without_people_and_people_without_tracks():
    nobody = evaluate_tracks(({}, {3: 0}), ({}, {3: 0}))
    assert nobody.false_positives == 2 and math.isnan(nobody.mota) and nobody.idf1 == 0.0
    unseen = evaluate_tracks(({0: 0, 1: 900}, {}))
    assert (unseen.misses, unseen.mota, unseen.idf1) == (2, 0.0, 0.0)
    assert math.isnan(evaluate_tracks().idf1)


def test_numbers_that_come_twice_are_refused():
    with pytest.raises(InputError, match=r"2 tracks of one frame set have the numbers \[4, 4\]"):
        TrackingEvaluation().add([], people_at(), [4, 4], people_at(0, 1))
    with pytest.raises(InputError, match="1 people"):
        TrackingEvaluation().add([1, 2], people_at(0), [], people_at())
