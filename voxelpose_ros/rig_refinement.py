"""The service ~/refine_rig: a mended rig, proposed beside the one in use, from the people seen lately."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import save_rig
from voxelpose_core.self_calibration.camera_faults import LATE, MOVED
from voxelpose_core.self_calibration.monitor import RigFault, RigMonitor
from voxelpose_core.self_calibration.refine import CameraChange, Refinement, refine

try:
    from std_srvs.srv import Trigger
except ImportError:
    raise InputError("ROS package std_srvs is missing: install ros-<distro>-std-srvs") from None

_JOIN_S = 1.0


class RefineRigService:
    """Answers ~/refine_rig of a node, in a thread of its own: refining takes seconds.

    The service belongs to a hidden node with its own executor, so that the callbacks of the node go on.

    Args:
        node: whose service it is.
        propose: writes a proposed rig and says what it is; InputError is a refusal.
    """

    def __init__(self, node: Node, propose: Callable[[], str]):
        self._propose, self._logger = propose, node.get_logger()
        self._node = rclpy.create_node(
            f"_{node.get_name()}_refine_rig",
            namespace=node.get_namespace(),
            context=node.context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        name = f"{node.get_fully_qualified_name()}/refine_rig"
        self._service = self._node.create_service(Trigger, name, self._answer)
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="refine rig", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take the service back; a refinement that is running is left to itself."""
        self._executor.shutdown(timeout_sec=0)
        self._thread.join(timeout=_JOIN_S)
        self._node.destroy_node()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass

    def _answer(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message, response.success = self._propose(), True
            self._logger.info(response.message)
        except InputError as error:
            response.message = f"no rig is proposed: {error}"
            self._logger.warning(response.message)
        # Whoever called waits for an answer.
        except Exception as error:
            response.message = f"refining failed: {type(error).__name__}: {error}"
            self._logger.error(response.message)
        return response


def propose_rig(monitor: RigMonitor | None, offsets_ms: Sequence[float], rig_file: str) -> str:
    """Refine the rig in use and write it beside the file that it is from.

    Args:
        monitor: holds the rig and what was seen lately; None: nothing was.
        offsets_ms: time offsets in use.
        rig_file: of the rig; empty: it is from topics.

    Returns:
        one line: where it is, and how far each camera moved.

    Raises:
        InputError: with the reason why there is no better rig, or it cannot be written.
    """
    if monitor is None:
        raise InputError("nothing was seen yet, expected an active node and somebody who walks about")
    result = refine(monitor.rig, monitor.recording())
    if not result.accepted:
        raise InputError(f"{result.reason} (from {monitor.seconds:.0f} s with people)")
    offsets = [
        own + (change.offset_ms if change.offset_sigma_ms < float("inf") else 0.0)
        for own, change in zip(offsets_ms, result.cameras, strict=True)
    ]
    path = free_path(Path(rig_file or f"{monitor.rig.name}.yaml"))
    save_rig(result.rig.with_time_offsets([round(own - offsets[0], 2) for own in offsets]), path)
    return f"{path} is written: {_in_words(result)}; to use it, set rig_file to it and start the node again"


def free_path(rig_file: Path) -> Path:
    """Where a proposal is written: beside the rig file, never over another file."""
    stem = rig_file.name.split(".")[0] if rig_file.is_dir() else rig_file.stem
    path, number = rig_file.with_name(f"{stem}.refined.yaml"), 1
    while path.exists():
        number += 1
        path = rig_file.with_name(f"{stem}.refined-{number}.yaml")
    return path


def _in_words(result: Refinement) -> str:
    cameras = ", ".join(_change_in_words(change) for change in result.cameras)
    return (
        f"held-out 2D detections disagree by {100 * result.after_share:.2f} % of people's size, "
        f"{100 * result.before_share:.2f} % before; {cameras}"
    )


def _change_in_words(change: CameraChange) -> str:
    words = f"{change.name} {change.moved_deg:.2f} degrees, {change.moved_mm:.0f} mm"
    if change.offset_sigma_ms < float("inf") and abs(change.offset_ms) >= 1.0:
        words += f", {change.offset_ms:+.0f} ms"
    return words


def advice(fault: RigFault, node: Node, cameras: Sequence[str], offsets_ms: Sequence[float]) -> str:
    """What to type about a camera that no longer fits the others.

    Args:
        fault: what is wrong.
        node: whose service and parameters help.
        cameras: names, in the order of the rig.
        offsets_ms: time offsets in use.
    """
    name = node.get_fully_qualified_name()
    if fault.kind == MOVED:
        call = f"ros2 service call {name}/refine_rig std_srvs/srv/Trigger"
        return f"was it knocked? `{call}` proposes a mended rig"
    if fault.kind == LATE:
        offsets = list(offsets_ms)
        offsets[list(cameras).index(fault.camera)] += fault.offset_ms
        # ROS takes no whole numbers for a list of floating-point ones.
        values = ",".join(f"{round(own - offsets[0], 1) + 0.0:.1f}" for own in offsets)
        return f'synchronize its clock, or `ros2 param set {name} sync.offsets_ms "[{values}]"`'
    return ""
