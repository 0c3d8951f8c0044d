"""The node's parameters: declaration, validation, descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxelpose_core.errors import InputError
from voxelpose_core.estimator import EstimatorSettings
from voxelpose_core.geometry.camera import MOST_OFFSET_MS
from voxelpose_core.geometry.rig import Rig, checked_ground, load_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.tracking import TrackerSettings
from voxelpose_ros import topics
from voxelpose_ros.parameters import Parameters

INPUTS = ("image", "compressed", "keypoints")
PRECISIONS = ("auto", "float32", "bfloat16")
CALIBRATIONS = ("rig_file", "topics")
RECTIFIED = ("auto", "true", "false")


@dataclass(frozen=True)
class NodeSettings:
    """Values of the node's parameters; `read` declares and describes each."""

    autostart: bool
    calibration: str
    rig_file: str
    rectified: str
    cameras: Sequence[str]
    input: str
    image_topic: str
    keypoints_topic: str
    topics: Sequence[str]
    reliability: str
    queue_depth: int
    output_reliability: str
    publish_tf: bool
    check_camera_info: bool
    frame_id: str
    weights: str
    device: str
    precision: str
    detector: str
    refine_detections: bool
    space: Space | None
    ground: float | None
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
        space = p.text(
            "space",
            "",
            "Capture space as CX,CY,CZ,SX,SY,SZ (centre, size) in mm; empty: the rig file's, or one "
            "proposed from the cameras.",
        )
        ground = p.text(
            "ground",
            "",
            "Height of the floor in the rig's world, mm; empty: the rig file's, else 0.",
        )
        return cls(
            autostart=p.flag(
                "autostart",
                True,
                "Configure and activate the node on start; false: left to a lifecycle manager.",
            ),
            calibration=p.text(
                "calibration",
                "rig_file",
                "Source of the calibration: rig_file, or topics (CameraInfo and TF).",
                CALIBRATIONS,
            ),
            rig_file=p.text(
                "rig_file",
                "",
                "Calibration of the cameras: rig YAML, or the file of another tool; required with "
                "calibration:=rig_file.",
            ),
            rectified=p.text(
                "rectified",
                "auto",
                "Whether images are rectified, so that P of CameraInfo applies instead of K; auto: "
                "if the last part of the topic's name contains 'rect'.",
                RECTIFIED,
            ),
            cameras=p.texts(
                "cameras",
                "Cameras of the rig to use; empty: all. Required with calibration:=topics.",
            ),
            input=p.text("input", "image", "Type of the camera topics.", INPUTS),
            image_topic=p.text(
                "image_topic",
                topics.IMAGE_TOPIC,
                "Image topic of each camera, a template with {camera}; compressed images are "
                "expected on <image_topic>/compressed.",
            ),
            keypoints_topic=p.text(
                "keypoints_topic",
                topics.KEYPOINTS_TOPIC,
                "Keypoints topic of each camera, a template with {camera}.",
            ),
            topics=p.texts(
                "topics", "One topic per camera, in the order of the cameras, instead of a template."
            ),
            reliability=p.text(
                "qos.reliability",
                "best_effort",
                "Reliability (QoS) of the camera subscriptions.",
                topics.RELIABILITIES,
            ),
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
            check_camera_info=p.flag(
                "check_camera_info",
                True,
                "Drop the frames of a camera whose CameraInfo contradicts the rig file.",
            ),
            frame_id=p.text(
                "frame_id",
                "",
                "World frame of the output, z up; empty: the rig's, else 'world'.",
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
            space=Space.parse(space) if space else None,
            ground=checked_ground(ground) if ground else None,
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

    def load_rig(self) -> Rig:
        """The rig file's rig, with the chosen cameras only.

        Raises:
            InputError: when there is no rig file, or it is not as expected.
        """
        if not self.rig_file:
            raise InputError("parameter 'rig_file' is empty, expected a calibration file")
        return self.placed(load_rig(self.rig_file, cameras=self.cameras or None))

    def placed(self, rig: Rig) -> Rig:
        """The rig with the floor where parameter 'ground' has it."""
        return rig if self.ground is None else rig.with_ground(self.ground)

    def is_rectified(self, topic: str) -> bool:
        """Whether the images of this topic are rectified."""
        if self.rectified == "auto":
            return topics.is_rectified(topic)
        return self.rectified == "true"

    def camera_topics(self, cameras: Sequence[str]) -> dict[str, str]:
        """The topic of each of the cameras.

        Raises:
            InputError: when the topics do not fit the cameras.
        """
        if self.topics:
            found = [topics.checked(topic) for topic in self.topics]
        else:
            template = self.keypoints_topic if self.input == "keypoints" else self.image_topic
            suffix = topics.COMPRESSED_SUFFIX if self.input == "compressed" else ""
            found = [topics.expand(template, name) + suffix for name in cameras]
        if len(found) != len(cameras):
            raise InputError(
                f"parameter 'topics' has {len(found)} topics, the rig has calibrations of "
                f"{len(cameras)} cameras ({', '.join(cameras)}): expected one topic for each"
            )
        for topic in found:
            if found.count(topic) > 1:
                raise InputError(f"topic '{topic}' serves two cameras, expected one for each")
        return dict(zip(cameras, found))


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
