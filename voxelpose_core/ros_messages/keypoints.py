"""2D detections to and from voxelpose_ros/Keypoints2DArray.

Errors name what is wrong in the message; the caller, who knows it, puts the topic in front.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_scale import is_scaled_copy, scaled_points
from voxelpose_core.input_checks import MAX_PEOPLE, clipped_scores, refuse_normalized
from voxelpose_core.ros_messages.camera_info import check_image_size
from voxelpose_core.ros_messages.images import shown
from voxelpose_core.ros_messages.message_classes import MessageClasses
from voxelpose_core.skeletons import JointSet, get_joint_set


def keypoints_to_message(
    classes: MessageClasses,
    keypoints: np.ndarray,
    camera: str,
    image_size: tuple[int, int],
    joint_set: JointSet,
    header: Any,
) -> Any:
    """A voxelpose_ros/Keypoints2DArray.

    Args:
        classes: the family of the message.
        keypoints: (P, J, 3) x px, y px, score.
        camera: name of the camera.
        image_size: (width, height) px of its image.
        joint_set: of the keypoints.
        header: std_msgs/Header of the same family.
    """
    people = [
        classes.own("Keypoints2D")(
            score=float(person[:, 2].max()),
            x=classes.numbers(person[:, 0].copy()),
            y=classes.numbers(person[:, 1].copy()),
            keypoint_scores=classes.numbers(person[:, 2].copy()),
        )
        for person in np.asarray(keypoints, dtype=np.float32)
    ]
    return classes.own("Keypoints2DArray")(
        header=header,
        camera=camera,
        image_width=image_size[0],
        image_height=image_size[1],
        joint_set=joint_set.name,
        people=people,
    )


def joint_set_of_most(
    names: Iterable[str], current: JointSet, check: Callable[[JointSet], object] = lambda joint_set: None
) -> JointSet:
    """The joint set to expect of the cameras' 2D detections: the one that most messages state.

    Args:
        names: `joint_set` of the messages of one frame set.
        current: stays where half of the messages or more state it, and where none of the others can be used.
        check: raises InputError for a joint set that cannot be used; the next most frequent one is tried.
    """
    counts = Counter(map(known_joint_set, names))
    if 2 * counts[current] >= counts.total():
        return current
    for joint_set, _ in counts.most_common():
        if joint_set is None:
            continue
        try:
            check(joint_set)
        except InputError:
            continue
        return joint_set
    return current


def known_joint_set(name: str) -> JointSet | None:
    """The joint set that a message names; None where it is not known."""
    try:
        return get_joint_set(name)
    except InputError:
        return None


def keypoints_from_message(message: Any, camera: Camera, joint_set: JointSet) -> np.ndarray:
    """(P, J, 3) float32, x px, y px, score from 0 to 1, of the people in the message.

    Keypoints of a scaled copy of the calibrated image are scaled to the calibrated one.

    Raises:
        InputError: when camera, image size or joint set are not those expected, lengths differ,
            values are not finite, a score is not from 0 to 1, coordinates are no pixels, or there are
            more than 100 people.
    """
    if message.camera and message.camera != camera.name:
        raise InputError(f"keypoints are of camera {shown(message.camera)}, expected '{camera.name}'")
    if message.joint_set != joint_set.name and known_joint_set(message.joint_set) != joint_set:
        raise InputError(f"joint set is {shown(message.joint_set)}, expected '{joint_set.name}'")
    size = (message.image_width, message.image_height)
    check_image_size(size, camera)
    if len(message.people) > MAX_PEOPLE:
        raise InputError(f"{len(message.people)} people, expected at most {MAX_PEOPLE}")
    keypoints = np.zeros((len(message.people), len(joint_set), 3), np.float32)
    for row, person in zip(keypoints, message.people):
        for column, values in enumerate((person.x, person.y, person.keypoint_scores)):
            if len(values) != len(joint_set):
                raise InputError(
                    f"a person has {len(values)} keypoints, expected {len(joint_set)} of {joint_set.name}"
                )
            row[:, column] = values
    if not np.isfinite(keypoints).all():
        raise InputError("a keypoint is not finite, expected pixels and scores")
    keypoints[..., 2] = clipped_scores(keypoints[..., 2], "")
    refuse_normalized(keypoints, "")
    if is_scaled_copy(size, camera):
        keypoints[..., :2] = scaled_points(keypoints[..., :2], size, camera.image_size)
    return keypoints
