"""Plays calibrated videos or image folders as the topics of synchronized cameras."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.sources import FrameSource, open_image_folders, open_videos
from voxelpose_ros import camera_info_messages, clocks, conversions, image_messages, process, topics
from voxelpose_ros.pacing import Handshake, Pace, flush, spin_beside
from voxelpose_ros.parameters import Parameters
from voxelpose_ros.renamed_parameters import PLAYER

_QOS = QoSProfile(depth=2)
_FORMATS = ("raw", "compressed", "both")


class CameraPlayer(Node):
    """Publishes one image per camera and frame set, with its CameraInfo.

    In real time by default. With `lockstep.wait_for` it goes step by step: the next frame set follows
    when the skeletons of the last one have arrived, so that a slow machine skips none.

    Raises:
        InputError: when a parameter, the rig file or a video is not as expected.
    """

    def __init__(self):
        super().__init__("camera_player", allow_undeclared_parameters=True)
        p = Parameters(self, renamed=PLAYER)
        rig_file = p.text("rig_file", "", "Calibration of the cameras; required.")
        cameras = p.texts("cameras", "Cameras of the rig, in the order of the videos; empty: all.")
        videos = p.texts("videos", "One video per camera.")
        folders = p.texts("image_folders", "One folder of images per camera, instead of videos.")
        rate = p.number("rate", 0.0, "Frame sets per second; 0: the video's own rate.", 0.0, 1000.0)
        self._loop = p.flag("loop", False, "Start again at the end.")
        self._max_frame_sets = p.integer(
            "max_frame_sets", 0, "Stop after this many frame sets; 0: no limit.", 0, 2**31 - 1
        )
        self._jitter_ns = 1e6 * p.number(
            "faults.jitter_ms", 0.0, "Stamps of a frame set are spread over +- this, ms.", 0.0, 1000.0
        )
        self._drop = p.number("faults.drop", 0.0, "Share of the images to lose.", 0.0, 1.0)
        seed = p.integer("seed", 0, "Random seed of jitter and losses.", 0, 2**31 - 1)
        template = p.text(
            "image_topic", topics.IMAGE_TOPIC, "Image topic of each camera, a template with {camera}."
        )
        self._format = p.text("format", "raw", "Image messages to publish.", _FORMATS)
        self._quality = p.integer("jpeg_quality", 90, "JPEG quality of compressed images.", 1, 100)
        wait_for = p.text(
            "lockstep.wait_for",
            "",
            "Topic of skeletons to wait for after each frame set; empty: real time.",
        )
        start_timeout_s = p.number(
            "lockstep.start_timeout_s",
            120.0,
            "With lockstep.wait_for: longest wait for a subscriber of the images, s.",
            0.0,
            3600.0,
        )
        step_timeout_s = p.number(
            "lockstep.step_timeout_s",
            60.0,
            "With lockstep.wait_for: longest wait for the skeletons of a frame set, s.",
            0.0,
            3600.0,
        )
        p.finish()

        rig = load_rig(rig_file, cameras=cameras or None) if rig_file else None
        if rig is None:
            raise InputError("parameter 'rig_file' is empty, expected a calibration file")
        self._cameras = rig.cameras
        self._source = _open_source(videos, folders, len(self._cameras))
        self._pace = Pace(rate or self._source.fps)
        self._random = np.random.default_rng(seed)
        image_topics = [topics.expand(template, camera.name) for camera in self._cameras]
        self._advertise(image_topics)
        self._handshake = None
        if wait_for:
            self._handshake = Handshake(self, wait_for, start_timeout_s, step_timeout_s)

    def play(self) -> None:
        """Publish everything, once or for ever."""
        publishers = self._compressed if self._format == "compressed" else self._raw
        if self._handshake is not None:
            self._handshake.wait_for_subscribers(publishers, self._infos)
        clocks.wait_for_time(self)
        for images in itertools.islice(self._images(), self._max_frame_sets or None):
            self._pace.wait()
            if not self.context.ok():
                return
            self._publish(images)
        flush(self._raw + self._compressed)

    def _images(self) -> Iterator[Sequence[np.ndarray | None]]:
        while True:
            for _, _, images in self._source:
                yield images
            if not self._loop:
                return

    def _advertise(self, image_topics: Sequence[str]) -> None:
        self._raw, self._compressed, self._infos = [], [], []
        for topic in image_topics:
            if self._format != "compressed":
                self._raw.append(self.create_publisher(Image, topic, _QOS))
            if self._format != "raw":
                compressed = topic + topics.COMPRESSED_SUFFIX
                self._compressed.append(self.create_publisher(CompressedImage, compressed, _QOS))
            info = topics.camera_info_topic(topic)
            self._infos.append(self.create_publisher(CameraInfo, info, 10))

    def _publish(self, images: Sequence[np.ndarray | None]) -> None:
        now = self.get_clock().now().nanoseconds
        for index, (camera, image) in enumerate(zip(self._cameras, images)):
            jitter = self._random.uniform(-self._jitter_ns, self._jitter_ns)
            lost = self._random.random() < self._drop
            if image is not None and not lost:
                self._publish_image(index, camera, image, now + round(jitter))
        if self._handshake is not None:
            self._handshake.wait_for_answer(now - round(self._jitter_ns))

    def _publish_image(self, index: int, camera: Camera, image: np.ndarray, stamp_ns: int) -> None:
        stamp = conversions.to_stamp(stamp_ns)
        header = Header(stamp=stamp, frame_id=camera_info_messages.optical_frame(camera.name))
        self._infos[index].publish(camera_info_messages.camera_info(camera, stamp))
        if self._raw:
            self._raw[index].publish(image_messages.bgr_to_image(image, header))
        if self._compressed:
            message = image_messages.bgr_to_compressed(image, header, self._quality)
            self._compressed[index].publish(message)


def _open_source(videos: Sequence[str], folders: Sequence[str], cameras: int) -> FrameSource:
    if bool(videos) == bool(folders):
        raise InputError("parameters 'videos' and 'image_folders': expected one of them")
    given = videos or folders
    if len(given) != cameras:
        raise InputError(
            f"{len(given)} {'videos' if videos else 'image folders'} for {cameras} cameras, "
            "expected one for each, in the order of the rig"
        )
    return open_videos(videos) if videos else open_image_folders(folders)


def _work(node: CameraPlayer) -> None:
    spin_beside(node, node.play)


def main(args: Sequence[str] | None = None) -> int:
    """Run the player as a process."""
    return process.run(CameraPlayer, _work, args)


if __name__ == "__main__":
    sys.exit(main())
