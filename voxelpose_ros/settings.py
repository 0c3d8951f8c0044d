"""The node's parameters: declaration, validation, descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxelpose_core.estimator import EstimatorSettings
from voxelpose_core.geometry.camera import MOST_OFFSET_MS
from voxelpose_core.tracking import TrackerSettings
from voxelpose_ros import topics
from voxelpose_ros.camera_settings import CameraSettings
from voxelpose_ros.parameters import Parameters

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class NodeSettings(CameraSettings):
    """Values of the node's parameters; `read` declares and describes each."""

    autostart: bool
    queue_depth: int
    output_reliability: str
    publish_tf: bool
    weights: str
    device: str
    precision: str
    detector: str
    refine_detections: bool
    slop_ms: float
    max_wait_ms: float
    min_cameras: int
    offsets_ms: Sequence[float]
    rig_monitor: bool
    estimator: EstimatorSettings
    tracker: TrackerSettings

    @classmethod
    def read(cls, p: Parameters) -> NodeSettings:
        """Read the parameters, and declare those that are not declared yet.

        Raises:
            InputError: naming the parameter, its value and what was expected.
        """
        min_cameras = p.integer(
            "sync.min_cameras", 2, "Smallest number of cameras in a frame set.", 2, 1000, live=True
        )
        return cls(
            autostart=p.flag(
                "autostart",
                True,
                "Configure and activate the node on start; false: left to a lifecycle manager.",
            ),
            **CameraSettings.declared(p),
            queue_depth=p.integer("qos.depth", 5, "Queue depth (QoS) of the camera subscriptions.", 1, 1000),
            output_reliability=p.text(
                "qos.output_reliability",
                "reliable",
                "Reliability (QoS) of the published topics.",
                topics.RELIABILITIES,
            ),
            publish_tf=p.flag(
                "publish_tf",
                False,
                "Broadcast a frame body_<id> at each person's mid-hip: x forward, z up (REP-155).",
            ),
            weights=p.text("weights", "universal", "3D weights: universal, voxelpose or a file."),
            device=p.text("device", "auto", "Device of the 3D model: auto, cpu or cuda:N."),
            precision=p.text(
                "estimator.precision",
                "auto",
                "Precision of the convolutions (voxel nets); auto: bfloat16 where the hardware has it.",
                PRECISIONS,
            ),
            detector=p.text(
                "detector",
                "movenet",
                "2D detector: movenet or an ONNX file (docs/detectors.md); not used with input:=keypoints.",
            ),
            refine_detections=p.flag(
                "refine_detections",
                False,
                "Refine each 2D detection with a second net on a crop: more accurate joints, for half a "
                "view's detection time per detection.",
            ),
            slop_ms=p.number(
                "sync.slop_ms",
                15.0,
                "Largest difference between the stamps in a frame set, ms; less than the frame period.",
                0.0,
                1000.0,
                live=True,
            ),
            max_wait_ms=p.number(
                "sync.max_wait_ms",
                100.0,
                "How long a frame set waits for missing cameras, ms.",
                0.0,
                10000.0,
                live=True,
            ),
            min_cameras=min_cameras,
            offsets_ms=p.numbers(
                "sync.offsets_ms",
                "Added to the stamps of each camera, in the order of the cameras, ms; empty: the rig file's "
                "time_offset_ms, else 0.",
                -MOST_OFFSET_MS,
                MOST_OFFSET_MS,
                live=True,
            ),
            rig_monitor=p.flag(
                "rig_monitor.enabled",
                True,
                "Keep the 2D detections of the last two minutes with people, and report cameras that were "
                "knocked or fell out of sync; ~/refine_rig uses them.",
            ),
            estimator=_estimator_settings(p, min_cameras),
            tracker=_tracker_settings(p),
        )


def _tracker_settings(p: Parameters) -> TrackerSettings:
    fields = TrackerSettings.model_fields

    def number(name: str, low: float, high: float) -> float:
        field = fields[name]
        return p.number(f"tracking.{name}", field.default, field.description, low, high, live=True)

    def integer(name: str, low: int, high: int) -> int:
        field = fields[name]
        return p.integer(f"tracking.{name}", field.default, field.description, low, high, live=True)

    smooth = p.text(
        "tracking.smooth",
        "auto",
        fields["smooth"].description,
        ("auto", "true", "false"),
        live=True,
    )
    return TrackerSettings(
        gate_mm=number("gate_mm", 1.0, 10000.0),
        max_age_s=number("max_age_s", 0.01, 3600.0),
        max_missed=integer("max_missed", 0, 10000),
        confirm_after=integer("confirm_after", 1, 100),
        smooth=None if smooth == "auto" else smooth == "true",
        joint_noise_mm=number("joint_noise_mm", 1.0, 1000.0),
    )


def _estimator_settings(p: Parameters, min_cameras: int) -> EstimatorSettings:
    fields = EstimatorSettings.model_fields

    def number(name: str, low: float, high: float) -> float:
        field = fields[name]
        return p.number(f"estimator.{name}", field.default, field.description, low, high, live=True)

    def flag(name: str) -> bool:
        return p.flag(f"estimator.{name}", fields[name].default, fields[name].description, live=True)

    # ROS parameters have no "none".
    threshold = p.number(
        "estimator.proposal_threshold",
        -1.0,
        "Minimum confidence of a person (voxel nets: minimum root score); -1: that of the weights.",
        -1.0,
        1.0,
        live=True,
    )
    people, every = fields["max_people"], fields["full_detection_every"]
    return EstimatorSettings(
        proposal_threshold=None if threshold < 0 else threshold,
        support_threshold=number("support_threshold", 0.0, 1.0),
        joint_threshold=number("joint_threshold", 0.0, 1.0),
        keypoint_threshold=number("keypoint_threshold", 0.0, 1.0),
        second_look=flag("second_look"),
        second_look_threshold=number("second_look_threshold", 0.0, 1.0),
        duplicate_distance=number("duplicate_distance", 0.0, 5000.0),
        floor_tolerance=number("floor_tolerance", 0.0, 10000.0),
        last_pose=flag("last_pose"),
        max_people=p.integer("estimator.max_people", people.default, people.description, 1, 100, live=True),
        min_cameras=min_cameras,
        full_detection_every=p.integer(
            "estimator.full_detection_every", every.default, every.description, 1, 1000
        ),
        recenter=flag("recenter"),
        recenter_distance=number("recenter_distance", 0.0, 5000.0),
        refine=flag("refine"),
    )
