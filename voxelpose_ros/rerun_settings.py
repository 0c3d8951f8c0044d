"""The parameters of rerun_view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxelpose_ros.bringup import SKELETONS_TOPIC
from voxelpose_ros.camera_settings import CameraSettings
from voxelpose_ros.parameters import Parameters

# In the parameter `images`: of no camera.
NO_IMAGES = "none"


@dataclass(frozen=True)
class RerunSettings(CameraSettings):
    """Values of rerun_view's parameters; `read` declares and describes each."""

    skeletons_topic: str
    save: str
    connect: str
    images: Sequence[str]
    image_rate: float
    image_width: int
    covariances: bool

    @classmethod
    def read(cls, p: Parameters) -> RerunSettings:
        """Read and declare the parameters.

        Raises:
            InputError: naming the parameter, its value and what was expected.
        """
        return cls(
            skeletons_topic=p.text(
                "skeletons_topic", SKELETONS_TOPIC, "Topic of the skeletons (SkeletonArray)."
            ),
            save=p.text(
                "save", "", "File to write instead of opening a window; ends in .rrd, `rerun FILE` shows it."
            ),
            connect=p.text(
                "connect",
                "",
                "HOST, HOST:PORT or URL of a running viewer to send to, instead of opening a window.",
            ),
            images=p.texts("images", "Cameras whose images are shown; empty: all; none: no images."),
            image_rate=p.number(
                "image_rate",
                10.0,
                "Largest number of images per second and camera; others are skipped.",
                0.1,
                1000,
            ),
            image_width=p.integer(
                "image_width",
                640,
                "Wider images are shrunk to this width, px; 0: shown as they are.",
                0,
                100000,
            ),
            covariances=p.flag(
                "covariances",
                False,
                "Show the covariance of each joint as an ellipsoid of one standard deviation.",
            ),
            **CameraSettings.declared(p),
        )
