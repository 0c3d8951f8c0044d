"""Generated people are plausible, varied, reproducible, and stand on the ground."""

import torch

from voxelpose_core.datasets.people import ACTIVITIES, sample_people
from voxelpose_core.skeletons import COCO17


def draw(count=4000, seed=0, **options):
    return sample_people(count, torch.Generator().manual_seed(seed), **options)


def length(people, first, second):
    a, b = COCO17.index(first), COCO17.index(second)
    return (people[:, a] - people[:, b]).norm(dim=-1)


def test_same_seed_same_people():
    torch.testing.assert_close(draw(50, 3), draw(50, 3))
    assert (draw(50, 3) - draw(50, 4)).abs().max() > 100


def test_bones_have_human_lengths():
    people = draw(child_share=0.0)
    # Mean and spread of Winter's table for a stature of 1.70 +- 0.10 m.
    for joints, mean in (
        (("left_hip", "left_knee"), 416),
        (("left_knee", "left_ankle"), 418),
        (("right_shoulder", "right_elbow"), 299),
        (("right_elbow", "right_wrist"), 248),
    ):
        bone = length(people, *joints)
        assert abs(bone.mean() - mean) < 8
        assert 0.05 < bone.std() / bone.mean() < 0.10


def test_children_are_small():
    adults, children = draw(500, child_share=0.0), draw(500, child_share=1.0)
    thigh = ("left_hip", "left_knee")
    assert length(children, *thigh).max() < length(adults, *thigh).mean()


def test_they_rest_on_the_ground():
    lowest = draw()[..., 2].amin(dim=1)
    assert (lowest > -40).float().mean() > 0.99
    assert (lowest < 120).float().mean() > 0.8


def test_activities_differ():
    people = draw()
    height = people[:, 0, 2]
    wrist_above_nose = people[:, [9, 10], 2].amax(dim=1) > height
    assert 0.1 < wrist_above_nose.float().mean() < 0.5
    assert (height < 600).float().mean() > 0.01, "somebody lies"
    assert (height > 1400).float().mean() > 0.3, "many stand"


def test_joint_angles_stay_in_their_range():
    people = draw()
    for hip, knee, ankle in ((11, 13, 15), (12, 14, 16)):
        thigh = people[:, hip] - people[:, knee]
        shank = people[:, ankle] - people[:, knee]
        angle = torch.rad2deg(torch.acos((torch.cosine_similarity(thigh, shank, dim=-1)).clamp(-1, 1)))
        assert (180 - angle).max() <= max(a.knee_flexion[1] for a in ACTIVITIES.values()) + 1


def test_left_is_left():
    people = draw()
    left = people[:, COCO17.index("left_hip")] - people[:, COCO17.index("right_hip")]
    up = people[:, COCO17.index("left_shoulder")] - people[:, COCO17.index("left_hip")]
    forward = people[:, 0] - people[:, [3, 4]].mean(dim=1)
    # left x up points forward, as seen from the face; the head turns, so only for most.
    agree = (torch.linalg.cross(left, up) * forward).sum(-1) > 0
    assert agree.float().mean() > 0.93
