"""Where the calibration comes from: a rig file, or CameraInfo and TF; read anew on change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats import Notes
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.ros_messages.camera_info import camera_from_messages, intrinsics_from_message
from voxelpose_ros import topics
from voxelpose_ros.camera_settings import CameraSettings

WORLD_FRAME = "world"

# Less than this is noise of whoever publishes the transform.
_MOVED_MM = 1.0
_TURNED = 1e-3
_INTRINSICS_PX = 0.1


class Calibration(Protocol):
    """Tells of a rig, again when it changes."""

    def poll(self) -> Rig | None:
        """The rig, where it is new since the last call.

        Raises:
            InputError: saying what is missing or wrong; the rig of before stays in use.
        """
        ...

    def close(self) -> None:
        """Stop to listen."""
        ...


def changed_rig(
    calibration: Calibration, settings: CameraSettings, problem: Callable[[str], None]
) -> Rig | None:
    """The rig where the calibration is new, placed as the parameters say; `problem` takes what is wrong."""
    try:
        rig = calibration.poll()
    except InputError as error:
        problem(f"calibration: {error}")
        return None
    return None if rig is None else settings.placed(rig)


def follow_calibration(
    node: Node, settings: CameraSettings, acquired: ExitStack
) -> tuple[Calibration, Rig | None, dict[str, str]]:
    """Begin to follow the calibration that the parameters name.

    Args:
        node: which listens.
        settings: its parameters.
        acquired: closes it again.

    Returns:
        The calibration, the rig where it is known at once, and the full name of each camera's topic.

    Raises:
        InputError: when the rig file or a parameter is not as expected, or tf2_ros is missing.
    """
    if settings.calibration == "rig_file":
        rig_file = RigFile(settings.rig_file, settings.load_rig)
        rig = rig_file.poll()
        return rig_file, rig, _resolved(node, settings.camera_topics(rig.names))
    if not settings.cameras:
        raise InputError("parameter 'cameras' is empty, expected the names of the cameras")
    camera_topics = _resolved(node, settings.camera_topics(settings.cameras))
    frame = settings.frame_id or WORLD_FRAME
    from_topics = TopicCalibration(node, camera_topics, frame, settings.is_rectified)
    acquired.callback(from_topics.close)
    return from_topics, None, camera_topics


def _resolved(node: Node, camera_topics: Mapping[str, str]) -> dict[str, str]:
    """The topics by their full names, which diagnostics tell."""
    return {name: node.resolve_topic_name(topic) for name, topic in camera_topics.items()}


class RigFile:
    """A calibration file, or a folder of files.

    Args:
        path: the file or folder.
        load: reads the rig; called again when the file has changed.
    """

    def __init__(self, path: str, load: Callable[[], Rig]):
        self._path = Path(path)
        self._load = load
        self._names: tuple[str, ...] = ()
        self._mark: list[tuple] | None = None

    def poll(self) -> Rig | None:
        """See `Calibration.poll`."""
        mark = self._modified()
        if mark == self._mark:
            return None
        self._mark = mark
        rig = self._load()
        if self._names and rig.names != self._names:
            raise InputError(
                f"{self._path}: has the cameras {', '.join(rig.names)} now, expected "
                f"{', '.join(self._names)}: other cameras need a reconfigure"
            )
        self._names = rig.names
        return rig

    def close(self) -> None:
        """See `Calibration.close`."""

    def _modified(self) -> list[tuple]:
        """What tells one version from the next; nothing of what does not exist."""
        marks = []
        for file in sorted((self._path, *self._path.glob("*"))):
            try:
                status = file.stat()
            except OSError:
                continue
            marks.append((file.name, status.st_mtime_ns, status.st_size, status.st_ino))
        return marks


class TopicCalibration:
    """Intrinsics from each camera's CameraInfo, extrinsics from TF.

    Args:
        node: which listens.
        camera_topics: topic of each camera; its CameraInfo lies beside it.
        frame_id: the world frame, z up.
        is_rectified: whether the images of a topic are rectified.

    Raises:
        InputError: when tf2_ros is not installed.
    """

    def __init__(
        self,
        node: Node,
        camera_topics: Mapping[str, str],
        frame_id: str,
        is_rectified: Callable[[str], bool] = topics.is_rectified,
    ):
        tf2 = tf2_ros("calibration:=topics")
        self._node = node
        self._frame_id = frame_id
        self._buffer = tf2.Buffer()
        self._listener = tf2.TransformListener(self._buffer, node)
        self._unknown = tf2.TransformException
        self._info_topics = {name: topics.camera_info_topic(topic) for name, topic in camera_topics.items()}
        self._rectified = {name: is_rectified(topic) for name, topic in camera_topics.items()}
        self._infos: dict[str, CameraInfo] = {}
        self._rig: Rig | None = None
        self._subscriptions = [
            node.create_subscription(
                CameraInfo, topic, partial(self._infos.__setitem__, name), topics.sensor_qos()
            )
            for name, topic in self._info_topics.items()
        ]

    def poll(self) -> Rig | None:
        """See `Calibration.poll`."""
        cameras = tuple(self._camera(name) for name in self._info_topics)
        if self._rig is not None and not any(map(_differs, cameras, self._rig.cameras)):
            return None
        self._rig = Rig(
            cameras,
            name="topics",
            frame=self._frame_id,
            source="CameraInfo and TF",
            notes=self._notes(),
        )
        return self._rig

    def close(self) -> None:
        """See `Calibration.close`."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._listener.unregister()

    def _notes(self) -> tuple[str, ...]:
        """What was assumed of the cameras."""
        notes = Notes()
        for name, info in self._infos.items():
            intrinsics = intrinsics_from_message(info, self._rectified[name])
            for assumption in intrinsics.assumptions:
                notes.add(name, assumption)
        return notes.lines(self._info_topics)

    def _camera(self, name: str) -> Camera:
        topic, info = self._info_topics[name], self._infos.get(name)
        if info is None:
            raise InputError(f"topic {topic}: no CameraInfo has come yet, which calibration needs")
        try:
            transform = self._buffer.lookup_transform(self._frame_id, info.header.frame_id, Time())
        except self._unknown as error:
            raise InputError(
                f"camera '{name}': no transform from '{self._frame_id}' to "
                f"'{info.header.frame_id}' ({' '.join(str(error).split())})"
            ) from None
        try:
            return camera_from_messages(name, info, transform, self._rectified[name])
        except InputError as error:
            raise InputError(f"topic {topic}: {error}") from None


def _differs(first: Camera, second: Camera) -> bool:
    return (
        first.image_size != second.image_size
        or np.abs(first.K - second.K).max() > _INTRINSICS_PX
        or first.fisheye != second.fisheye
        or not np.array_equal(first.distortion, second.distortion)
        or np.abs(first.R - second.R).max() > _TURNED
        or np.abs(first.C - second.C).max() > _MOVED_MM
    )


def tf2_ros(purpose: str) -> Any:
    """The package tf2_ros; InputError names what it is needed for, where it is not installed."""
    try:
        import tf2_ros as package
    except ImportError:
        raise InputError(f"{purpose} needs tf2_ros, which is not installed here") from None
    return package
