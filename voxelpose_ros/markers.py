"""What RViz draws: people with their ids, and the rig with its capture space."""

from __future__ import annotations

import itertools

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from voxelpose_core.detector_joint_sets import FINE_JOINTS
from voxelpose_core.drawing.colors import person_color
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_ros.conversions import point_in_metres
from voxelpose_ros.msg import Skeleton, SkeletonArray

NAMESPACES = ("joints", "limbs", "ids")
# Hands and faces, of joint sets that have them.
DETAILS = "details"
_JOINT_DIAMETER = 0.06
_LIMB_WIDTH = 0.03
# Of hands and faces, which would be blobs of joints.
_DETAIL_WIDTH = 0.006
_TEXT_HEIGHT = 0.20
_TEXT_ABOVE_HEAD = 0.25
_FRUSTUM_MM = 500.0
_RIG_LINE_WIDTH = 0.015
_CAMERA_COLOR = ColorRGBA(r=0.20, g=0.27, b=0.35, a=1.0)
_SPACE_COLOR = ColorRGBA(r=0.45, g=0.55, b=0.65, a=0.8)


def track_color(track_id: int) -> ColorRGBA:
    """The colour that the person has in our pictures and videos, too."""
    blue, green, red = (value / 255.0 for value in person_color(track_id))
    return ColorRGBA(r=red, g=green, b=blue, a=1.0)


class SkeletonMarkers:
    """Draws each SkeletonArray and deletes the people of the one before who are gone.

    Args:
        lifetime_s: RViz drops markers that were not renewed for so long, so that a node that died
            leaves no marker behind. 0: never.
    """

    def __init__(self, lifetime_s: float = 2.0):
        nanoseconds = round(lifetime_s * 1e9)
        self._lifetime = Duration(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        self._shown: set[int] = set()
        self._started = False

    def update(self, skeletons: SkeletonArray) -> MarkerArray:
        """The markers that bring RViz from the last frame set to this one."""
        markers = []
        if not self._started:
            # Whatever an earlier run left under the same topic.
            markers.append(Marker(header=skeletons.header, action=Marker.DELETEALL))
            self._started = True
        people = {_marker_id(row, person): person for row, person in enumerate(skeletons.skeletons)}
        for marker_id in sorted(self._shown - people.keys()):
            markers += self._deletions(skeletons, marker_id)
        for marker_id, person in people.items():
            markers += self._draw(skeletons, marker_id, person)
        self._shown = set(people)
        return MarkerArray(markers=markers)

    def _deletions(self, skeletons: SkeletonArray, marker_id: int) -> list[Marker]:
        details = [] if FINE_JOINTS.isdisjoint(skeletons.joint_names) else [DETAILS]
        return [
            Marker(header=skeletons.header, ns=namespace, id=marker_id, action=Marker.DELETE)
            for namespace in [*NAMESPACES, *details]
        ]

    def _draw(self, skeletons: SkeletonArray, marker_id: int, person: Skeleton) -> list[Marker]:
        joints = self._marker(skeletons, "joints", marker_id, Marker.SPHERE_LIST)
        joints.scale.x = joints.scale.y = joints.scale.z = _JOINT_DIAMETER
        fine = [name in FINE_JOINTS for name in skeletons.joint_names]
        joints.points = [
            point
            for point, valid, small in zip(person.joints, person.joint_valid, fine)
            if valid and not small
        ]

        limbs = self._marker(skeletons, "limbs", marker_id, Marker.LINE_LIST)
        limbs.scale.x = _LIMB_WIDTH
        details = self._marker(skeletons, DETAILS, marker_id, Marker.LINE_LIST)
        details.scale.x = _DETAIL_WIDTH
        for first, second in zip(skeletons.limbs[::2], skeletons.limbs[1::2]):
            if person.joint_valid[first] and person.joint_valid[second]:
                thin = fine[first] or fine[second]
                (details if thin else limbs).points += [person.joints[first], person.joints[second]]

        label = self._marker(skeletons, "ids", marker_id, Marker.TEXT_VIEW_FACING)
        label.scale.z = _TEXT_HEIGHT
        label.text = str(person.track_id) if person.track_id >= 0 else "?"
        label.pose.position = _above(person, joints.points)
        return [joints, limbs, label, *([details] if any(fine) else [])]

    def _marker(self, skeletons: SkeletonArray, namespace: str, marker_id: int, kind: int):
        marker = Marker(
            header=skeletons.header,
            ns=namespace,
            id=marker_id,
            type=kind,
            action=Marker.ADD,
            color=track_color(marker_id),
            lifetime=self._lifetime,
        )
        marker.pose.orientation.w = 1.0
        return marker


def _marker_id(row: int, person: Skeleton) -> int:
    """The track's id; people without one are numbered downwards, apart from every track."""
    return person.track_id if person.track_id >= 0 else -1 - row


def _above(person: Skeleton, points: list[Point]) -> Point:
    top = max((point.z for point in points), default=person.root.z)
    return Point(x=person.root.x, y=person.root.y, z=top + _TEXT_ABOVE_HEAD)


def rig_markers(rig: Rig, space: Space, header: Header) -> MarkerArray:
    """The cameras with their names and fields of view, and the edges of the capture space; in metres."""
    frusta = _still("cameras", 0, Marker.LINE_LIST, header, _CAMERA_COLOR)
    frusta.scale.x = _RIG_LINE_WIDTH
    markers = [Marker(header=header, action=Marker.DELETEALL), frusta]
    for index, camera in enumerate(rig.cameras):
        frusta.points += [point_in_metres(p) for p in _frustum(camera)]
        name = _still("names", index, Marker.TEXT_VIEW_FACING, header, _CAMERA_COLOR)
        name.text, name.scale.z = camera.name, _TEXT_HEIGHT
        name.pose.position = point_in_metres(camera.C)
        name.pose.position.z += _TEXT_ABOVE_HEAD
        markers.append(name)
    box = _still("space", 0, Marker.LINE_LIST, header, _SPACE_COLOR)
    box.scale.x = _RIG_LINE_WIDTH
    box.points = [point_in_metres(p) for p in _edges(space)]
    return MarkerArray(markers=[*markers, box])


def _still(namespace: str, marker_id: int, kind: int, header: Header, color: ColorRGBA) -> Marker:
    marker = Marker(header=header, ns=namespace, id=marker_id, type=kind, action=Marker.ADD, color=color)
    marker.pose.orientation.w = 1.0
    return marker


def _frustum(camera: Camera) -> list[np.ndarray]:
    """Pairs of points, mm: the pyramid between a camera and its image's corners."""
    width, height = camera.image_size
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]])
    # As long as the rays, not as deep: the corners of a fisheye have next to no depth.
    rays = camera.unproject(corners, 1.0) - camera.C
    far = camera.C + _FRUSTUM_MM * rays / np.linalg.norm(rays, axis=1, keepdims=True)
    pairs = []
    for corner, following in zip(far, np.roll(far, -1, axis=0)):
        pairs += [camera.C, corner, corner, following]
    return pairs


def _edges(space: Space) -> list[np.ndarray]:
    """Pairs of points, mm: the twelve edges of the box."""
    corners = np.array(list(itertools.product(*zip(space.low, space.high))))
    return [
        point
        for first, second in itertools.combinations(corners, 2)
        if np.count_nonzero(first != second) == 1
        for point in (first, second)
    ]
