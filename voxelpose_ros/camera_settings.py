"""The parameters that say which cameras there are: shared by voxelpose_node and rerun_view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig, checked_ground, load_rig
from voxelpose_core.geometry.space import Space
from voxelpose_ros import topics
from voxelpose_ros.parameters import Parameters

INPUTS = ("image", "compressed", "keypoints")
CALIBRATIONS = ("rig_file", "topics")
RECTIFIED = ("auto", "true", "false")


@dataclass(frozen=True)
class CameraSettings:
    """Calibration, topics and world frame of the cameras; `declared` declares and describes each."""

    calibration: str
    rig_file: str
    rectified: str
    cameras: Sequence[str]
    input: str
    image_topic: str
    keypoints_topic: str
    topics: Sequence[str]
    reliability: str
    check_camera_info: bool
    frame_id: str
    space: Space | None
    ground: float | None

    @classmethod
    def declared(cls, p: Parameters) -> dict[str, Any]:
        """Values of the attributes by name, from the parameters; declares those that are not declared yet.

        Raises:
            InputError: naming the parameter, its value and what was expected.
        """
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
        return {
            "calibration": p.text(
                "calibration",
                "rig_file",
                "Source of the calibration: rig_file, or topics (CameraInfo and TF).",
                CALIBRATIONS,
            ),
            "rig_file": p.text(
                "rig_file",
                "",
                "Calibration of the cameras: rig YAML, or the file of another tool; required with "
                "calibration:=rig_file.",
            ),
            "rectified": p.text(
                "rectified",
                "auto",
                "Whether images are rectified, so that P of CameraInfo applies instead of K; auto: "
                "if the last part of the topic's name contains 'rect'.",
                RECTIFIED,
            ),
            "cameras": p.texts(
                "cameras",
                "Cameras of the rig to use; empty: all. Required with calibration:=topics.",
            ),
            "input": p.text("input", "image", "Type of the camera topics.", INPUTS),
            "image_topic": p.text(
                "image_topic",
                topics.IMAGE_TOPIC,
                "Image topic of each camera, a template with {camera}; compressed images are "
                "expected on <image_topic>/compressed.",
            ),
            "keypoints_topic": p.text(
                "keypoints_topic",
                topics.KEYPOINTS_TOPIC,
                "Keypoints topic of each camera, a template with {camera}.",
            ),
            "topics": p.texts(
                "topics", "One topic per camera, in the order of the cameras, instead of a template."
            ),
            "reliability": p.text(
                "qos.reliability",
                "best_effort",
                "Reliability (QoS) of the camera subscriptions.",
                topics.RELIABILITIES,
            ),
            "check_camera_info": p.flag(
                "check_camera_info",
                True,
                "Drop the frames of a camera whose CameraInfo contradicts the rig file.",
            ),
            "frame_id": p.text(
                "frame_id",
                "",
                "World frame of the skeletons, z up; empty: the rig's, else 'world'.",
            ),
            "space": Space.parse(space) if space else None,
            "ground": checked_ground(ground) if ground else None,
        }

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
