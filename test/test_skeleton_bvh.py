"""BVH: forward kinematics of the file gives the joints back."""

import numpy as np
import pytest
from skeleton_file_readers import joints_of, read_bvh
from skeleton_recordings import recording, walk

from voxelpose_core.errors import InputError
from voxelpose_core.skeleton_files import Recording, bvh, write_skeletons
from voxelpose_core.skeletons import CAMPUS14, COCO17, PANOPTIC15, JointSet, panoptic15_from_coco17


def write(path, made):
    answer, failure = write_skeletons([path], made)
    assert failure is None
    return answer


def test_constant_bone_lengths_come_back_exactly(tmp_path):
    joints = walk(40)
    assert write(tmp_path / "walk.bvh", recording({0: joints})).paths == [tmp_path / "walk.bvh"]
    assert np.abs(joints_of(tmp_path / "walk.bvh", COCO17) - joints).max() < 0.05  # the file's digits
    positions, parents, period = read_bvh(tmp_path / "walk.bvh")
    assert period == pytest.approx(0.02) and parents["Hips"] is None and parents["Head"] == "Neck"
    np.testing.assert_allclose(1000 * positions["Hips"][:, 1], joints[:, [11, 12], 2].mean(axis=1), atol=0.02)


def test_the_rest_pose_is_a_t_pose_with_the_persons_bones(tmp_path):
    joints = walk(40)
    write(tmp_path / "walk.bvh", recording({0: joints}))
    head = (tmp_path / "walk.bvh").read_text().split("MOTION")[0]
    still = head + "MOTION\nFrames: 1\nFrame Time: 0.02\n" + " ".join(["0"] * 69) + "\n"
    (tmp_path / "rest.bvh").write_text(still)
    rest, _, _ = read_bvh(tmp_path / "rest.bvh")
    np.testing.assert_allclose(rest["LeftHand"][0], [0.18 + 0.30 + 0.26, 0.48, 0], atol=2e-5)
    np.testing.assert_allclose(rest["RightFoot"][0], [-0.12, -0.43 - 0.41, 0], atol=2e-5)
    np.testing.assert_allclose(rest["Head"][0], [0, 0.48 + 0.22, 0], atol=2e-5)
    assert rest["Nose"][0, 2] > 0.1  # forwards


def test_noisy_joints_come_back_as_far_as_constant_lengths_allow(tmp_path):
    """A limb's end is off by what its bones differ from their medians, not by their sum."""
    noise = np.random.default_rng(1).normal(0, 8.0, (60, 17, 3))
    joints = walk(60) + noise
    write(tmp_path / "walk.bvh", recording({0: joints}))
    errors = np.linalg.norm(joints_of(tmp_path / "walk.bvh", COCO17) - joints, axis=2)
    for above, below in ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16)):
        lengths = np.linalg.norm(joints[:, below] - joints[:, above], axis=1)
        allowed = np.abs(lengths - np.median(lengths)) + errors[:, above]
        assert (errors[:, below] <= allowed + 0.05).all()
    assert errors.mean() < 15.0


def test_gaps_hold_or_bridge_rotations_and_leave_the_rest_alone(tmp_path):
    joints, whole = walk(30), walk(30)
    joints[10:14, COCO17.index("left_wrist")] = np.nan
    joints[:5, COCO17.index("right_ankle")] = np.nan
    joints[20:22, COCO17.index("nose")] = np.nan
    joints[25:27] = np.nan
    answer = write(tmp_path / "walk.bvh", recording({0: joints}))
    assert answer.notes == []
    back = joints_of(tmp_path / "walk.bvh", COCO17)
    assert np.isfinite(back).all() and len(back) == 30
    seen = np.isfinite(joints)
    assert np.abs(back - joints)[seen].max() < 0.3  # eyes beside the missing nose: elsewhere 0.01
    # In between, bones keep their lengths and go from where they were to where they will be.
    errors = np.linalg.norm(back - whole, axis=2)
    assert errors[10:14, COCO17.index("left_wrist")].max() < 60.0
    assert errors[25:27].max() < 60.0
    shin = np.linalg.norm(
        back[:5, COCO17.index("right_ankle")] - back[:5, COCO17.index("right_knee")], axis=1
    )
    np.testing.assert_allclose(shin, 410.0, atol=0.1)


def test_several_people_have_a_file_each_with_all_frames(tmp_path):
    late = walk(20, seed=2)
    late[:8] = np.nan
    answer = write(tmp_path / "walk.bvh", recording({1: walk(20), 4: late}))
    assert answer.paths == [tmp_path / "walk_P1.bvh", tmp_path / "walk_P4.bvh"]
    back = joints_of(answer.paths[1], COCO17)
    assert len(back) == 20 and np.abs(back - late)[8:].max() < 0.05
    assert np.abs(back[:8] - back[8]).max() < 0.05  # stays as it comes in


def test_upside_down_and_turning_people_are_no_harder(tmp_path):
    """A cartwheel and turns on the spot pass every angle."""
    from scipy.spatial.transform import Rotation

    joints = walk(50) - [0, 0, 900]
    turns = Rotation.from_euler("zx", np.column_stack([np.arange(50) * 25, np.arange(50) * 15]), degrees=True)
    joints = np.einsum("tij,tkj->tki", turns.as_matrix(), joints)
    write(tmp_path / "walk.bvh", recording({0: joints}))
    assert np.abs(joints_of(tmp_path / "walk.bvh", COCO17) - joints).max() < 0.05


def test_arms_that_point_against_their_rest_pose(tmp_path):
    """Half a turn has no shortest way, but an answer."""
    joints = walk(1)
    left, right = COCO17.index("left_shoulder"), COCO17.index("right_shoulder")
    across = (joints[0, right] - joints[0, left]) / 360.0
    joints[0, COCO17.index("left_elbow")] = joints[0, left] + 300.0 * across
    joints[0, COCO17.index("left_wrist")] = joints[0, left] + 560.0 * across
    write(tmp_path / "walk.bvh", recording({0: joints}))
    assert np.abs(joints_of(tmp_path / "walk.bvh", COCO17) - joints).max() < 0.05


def with_joints(more, name="more"):
    """COCO-17 with other joints."""
    names = COCO17.joint_names + tuple(more)
    mirror = tuple(
        names.index(n.replace("left_", "RIGHT_").replace("right_", "left_").replace("RIGHT_", "right_"))
        for n in names
    )
    values = {**COCO17.__dict__, "name": name, "joint_names": names, "mirror": mirror}
    return JointSet(**values)


def test_feet_and_hands_turn_their_bones(tmp_path):
    from scipy.spatial.transform import Rotation

    parts = [
        "big_toe",
        "small_toe",
        "heel",
        "forefinger1",
        "middle_finger1",
        "middle_finger2",
        "pinky_finger1",
    ]
    joint_set = with_joints([f"{side}_{part}" for side in ("left", "right") for part in parts])
    joints = walk(20)
    time = np.arange(20)
    extra = []
    for sign, side in ((1, "left"), (-1, "right")):
        # Of a person that stands: x ahead, y to the left, z up; hands hang down.
        foot = np.array([[150, -30 * sign, -60], [120, 50 * sign, -60], [-60, 0, -60.0]])
        hand = np.array([[30, 0, -80], [0, 0, -90], [0, 0, -130], [-40, 0, -75.0]])
        for part, joint, rate in ((foot, "ankle", 0.03), (hand, "wrist", 0.05)):
            turn = Rotation.from_rotvec(np.sin(rate * time)[:, None] * [0.3, 0.5, 0.7 * sign]).as_matrix()
            places = np.einsum("tij,kj->tki", turn, part)
            extra.append(places + joints[:, [COCO17.index(f"{side}_{joint}")]])
    joints = np.concatenate([joints, *extra], axis=1)
    made = recording({0: joints})
    made = Recording(joint_set, made.frame_sets, 50.0)
    assert write(tmp_path / "walk.bvh", made).notes == []
    assert np.abs(joints_of(tmp_path / "walk.bvh", joint_set) - joints).max() < 0.1
    _, parents, _ = read_bvh(tmp_path / "walk.bvh")
    assert parents["LeftMiddleFinger2"] == "LeftMiddleFinger1" and parents["LeftPinkyFinger1"] == "LeftHand"
    assert parents["RightHeel"] == "RightFoot"


def test_other_joint_sets(tmp_path):
    joints = panoptic15_from_coco17(walk(20))
    made = Recording(PANOPTIC15, recording({0: joints}).frame_sets, 50.0)
    write(tmp_path / "p.bvh", made)
    positions, parents, _ = read_bvh(tmp_path / "p.bvh")
    assert parents["NeckJoint"] == "Chest" and parents["MidHip"] == "Hips"
    nose = 1000 * positions["Head"][:, [0, 2, 1]] * [1, -1, 1]  # without ears the head begins at the nose
    lengths = np.linalg.norm(joints[:, 1] - joints[:, 0], axis=1)
    assert np.linalg.norm(nose - joints[:, 1], axis=1).max() < np.ptp(lengths) + 0.1
    assert [b.name for b in bvh.bones_of(CAMPUS14) if b.point == "head_top"] == ["Head"]
    with pytest.raises(
        InputError, match="hips and shoulders, but joint set 'arms' has no left_hip, right_hip"
    ):
        bvh.bones_of(JointSet(**{**COCO17.__dict__, "name": "arms", "joint_names": COCO17.joint_names[:11]}))


def test_joints_that_are_never_valid_are_told(tmp_path):
    joints, legless = walk(5), walk(5)
    joints[:, COCO17.index("left_elbow")] = np.nan
    legless[:, COCO17.index("left_hip")] = np.nan
    answer = write(tmp_path / "walk.bvh", recording({0: joints, 1: legless}))
    assert answer.paths == [tmp_path / "walk.bvh"]
    told = ["person 0 has no valid left_elbow, left_wrist: not in the BVH file"]
    assert answer.notes == [*told, "person 1 has no frame with hips and shoulders: no BVH file"]
    _, parents, _ = read_bvh(tmp_path / "walk.bvh")
    assert "LeftForeArm" not in parents and "RightHand" in parents
