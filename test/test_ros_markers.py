"""What RViz gets: joints, limbs and ids of everyone, nothing of those who left."""

import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from voxelpose_core.drawing.colors import person_color
from voxelpose_core.skeletons import COCO17
from voxelpose_ros import conversions
from voxelpose_ros.markers import NAMESPACES, SkeletonMarkers, track_color


def frame_set(*track_ids):
    """A SkeletonArray of people with these ids, one metre apart."""
    people = np.random.default_rng(0).uniform(0, 1800, (len(track_ids), 17, 3))
    people += 1000.0 * np.arange(len(track_ids))[:, None, None]
    message = conversions.joints_to_message(people, COCO17, ["a", "b"], Header(frame_id="world"))
    for person, track_id in zip(message.skeletons, track_ids):
        person.track_id = track_id
    return message


def scene(markers, shown=None):
    """(namespace, id) of what RViz shows after it took the markers on top of `shown`."""
    shown = set(shown or ())
    for marker in markers.markers:
        key = (marker.ns, marker.id)
        if marker.action == Marker.DELETEALL:
            shown.clear()
        elif marker.action == Marker.DELETE:
            assert key in shown
            shown.discard(key)
        else:
            shown.add(key)
    return shown


def markers_of(track_ids):
    return {(namespace, track_id) for namespace in NAMESPACES for track_id in track_ids}


def only(markers, namespace):
    (found,) = [m for m in markers.markers if m.ns == namespace]
    return found


def test_the_scene_follows_the_people():
    drawer = SkeletonMarkers()
    shown = {("joints", 99)}  # of an earlier run
    for track_ids in ((0, 1), (0, 1), (1, 2), (), (3,)):
        shown = scene(drawer.update(frame_set(*track_ids)), shown)
        assert shown == markers_of(track_ids)


def test_joints_and_limbs_lie_where_the_skeleton_is():
    message = frame_set(7)
    markers = SkeletonMarkers().update(message)
    person = message.skeletons[0]
    joints, limbs = only(markers, "joints"), only(markers, "limbs")
    assert (joints.type, limbs.type) == (Marker.SPHERE_LIST, Marker.LINE_LIST)
    assert list(joints.points) == list(person.joints)
    ends = list(zip(limbs.points[::2], limbs.points[1::2]))
    assert ends == [(person.joints[a], person.joints[b]) for a, b in COCO17.limbs]
    assert joints.pose.orientation.w == limbs.pose.orientation.w == 1.0
    assert joints.header.frame_id == "world"


def test_the_id_stands_above_the_head():
    message = frame_set(7)
    label = only(SkeletonMarkers().update(message), "ids")
    assert label.type == Marker.TEXT_VIEW_FACING
    assert label.text == "7"
    assert label.pose.position.z > max(p.z for p in message.skeletons[0].joints)


def test_joints_that_are_not_valid_are_not_drawn():
    message = frame_set(7)
    ankle = COCO17.index("left_ankle")
    message.skeletons[0].joint_valid[ankle] = False
    markers = SkeletonMarkers().update(message)
    gone = message.skeletons[0].joints[ankle]
    assert len(only(markers, "joints").points) == 16
    assert gone not in only(markers, "limbs").points
    assert len(only(markers, "limbs").points) == 2 * (len(COCO17.limbs) - 1)


def test_people_without_an_id_are_drawn_apart_from_each_other():
    drawer = SkeletonMarkers()
    shown = scene(drawer.update(frame_set(-1, -1, 0)))
    assert len(shown) == 9
    assert scene(drawer.update(frame_set()), shown) == set()


def test_a_person_has_the_colour_of_our_pictures():
    blue, green, red = person_color(4)
    color = track_color(4)
    assert (color.r, color.g, color.b) == pytest.approx((red / 255, green / 255, blue / 255))
    assert color.a == 1.0
    for marker in SkeletonMarkers().update(frame_set(4)).markers[1:]:
        assert marker.color == color


def test_markers_of_a_node_that_died_fade():
    for marker in SkeletonMarkers(lifetime_s=1.5).update(frame_set(1)).markers[1:]:
        assert (marker.lifetime.sec, marker.lifetime.nanosec) == (1, 500_000_000)
