"""Between ROS messages and the core's types: the one place where millimetres meet metres.

Errors name what is wrong in the message; the caller, who knows it, puts the topic in front.
"""

from __future__ import annotations

import array
import dataclasses
import reprlib
from collections.abc import Sequence

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, TransformStamped, Vector3
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.camera_info import (
    CameraInfoFields,
    Intrinsics,
    image_geometry,
    intrinsics_of,
    lens_of,
)
from voxelpose_core.geometry.image_scale import is_scaled_copy, scaled_camera, scaled_points
from voxelpose_core.image_headers import declared_size
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeletons import JointSet, get_joint_set
from voxelpose_core.sources import is_codec_crop
from voxelpose_ros.msg import Keypoints2D, Keypoints2DArray, SkeletonArray
from voxelpose_ros.msg import Skeleton as SkeletonMessage

SECOND = 1_000_000_000
MM_PER_M = 1000.0
MAX_PEOPLE = 100
# More than any camera has; and where a header says so, behind a thumbnail perhaps.
_MAX_PIXELS = 2**26
_HEADER_BYTES = 2**18

# Bytes a sample, samples a pixel, and OpenCV's code to BGR. ROS names a Bayer pattern by its first
# row, OpenCV by its second. cv_bridge is asked for the encodings that are not here only: PyPI's
# ignores `step`, and an installed one that was built against another numpy ends the process.
_BAYER = {
    "bayer_rggb": cv2.COLOR_BayerBG2BGR,
    "bayer_bggr": cv2.COLOR_BayerRG2BGR,
    "bayer_gbrg": cv2.COLOR_BayerGR2BGR,
    "bayer_grbg": cv2.COLOR_BayerGB2BGR,
}
_COLORS = {
    "bgr": (3, None),
    "rgb": (3, cv2.COLOR_RGB2BGR),
    "mono": (1, cv2.COLOR_GRAY2BGR),
    "bgra": (4, cv2.COLOR_BGRA2BGR),
    "rgba": (4, cv2.COLOR_RGBA2BGR),
    **{pattern: (1, code) for pattern, code in _BAYER.items()},
}
_ENCODINGS = {
    **{f"{name}8": (1, samples, code) for name, (samples, code) in _COLORS.items()},
    **{f"{name}16": (2, samples, code) for name, (samples, code) in _COLORS.items()},
    "8UC3": (1, 3, None),
    "8UC1": (1, 1, cv2.COLOR_GRAY2BGR),
    "16UC1": (2, 1, cv2.COLOR_GRAY2BGR),
    "yuv422": (1, 2, cv2.COLOR_YUV2BGR_UYVY),
    "uyvy": (1, 2, cv2.COLOR_YUV2BGR_UYVY),
    "yuv422_yuy2": (1, 2, cv2.COLOR_YUV2BGR_YUYV),
    "yuyv": (1, 2, cv2.COLOR_YUV2BGR_YUYV),
}


def to_nanoseconds(stamp: Time) -> int:
    """A message's stamp as integer nanoseconds."""
    return stamp.sec * SECOND + stamp.nanosec


def to_stamp(nanoseconds: int) -> Time:
    """Integer nanoseconds as a message's stamp."""
    sec, nanosec = divmod(int(nanoseconds), SECOND)
    return Time(sec=sec, nanosec=nanosec)


def to_bgr(message: Image | CompressedImage) -> np.ndarray:
    """The picture (H, W, 3), uint8, BGR; InputError as of `image_to_bgr`, `compressed_to_bgr`."""
    if isinstance(message, CompressedImage):
        return compressed_to_bgr(message)
    return image_to_bgr(message)


def image_to_bgr(message: Image) -> np.ndarray:
    """The picture (H, W, 3), uint8, BGR; a view of the message's data where that is possible.

    Raises:
        InputError: for an unknown encoding, or sizes, step and data that do not agree.
    """
    width, height, step = message.width, message.height, message.step
    if width == 0 or height == 0:
        raise InputError(f"image is {width}x{height}, expected pixels")
    if len(message.data) != step * height:
        raise InputError(
            f"image has {len(message.data)} bytes, expected step {step} x {height} rows"
        )
    if message.encoding not in _ENCODINGS:
        return _through_cv_bridge(message)
    bytes_per_sample, samples, to_bgr = _ENCODINGS[message.encoding]
    used = width * samples * bytes_per_sample
    if step < used:
        raise InputError(
            f"image's step is {step} bytes, expected at least {used} for {width} pixels of "
            f"{message.encoding}"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)[:, :used]
    if bytes_per_sample == 2:
        # The high bytes: 8 of 16 bits, as cv_bridge does.
        rows = rows[:, 0 if message.is_bigendian else 1 :: 2]
    pixels = rows.reshape(height, width, samples)
    if to_bgr is None:
        return pixels
    try:
        return cv2.cvtColor(pixels, to_bgr)
    except cv2.error:
        raise InputError(
            f"image of {width}x{height} cannot be {message.encoding}, expected even sizes"
        ) from None


def _through_cv_bridge(message: Image) -> np.ndarray:
    try:
        from cv_bridge import CvBridge

        image = np.asarray(CvBridge().imgmsg_to_cv2(message, "bgr8"))
    # cv_bridge raises whatever it meets inside, of any type.
    except Exception:
        raise InputError(
            f"encoding {_shown(message.encoding)} is unknown, expected one of "
            f"{', '.join(_ENCODINGS)}"
        ) from None
    return image


def compressed_to_bgr(message: CompressedImage) -> np.ndarray:
    """The picture (H, W, 3), uint8, BGR.

    Raises:
        InputError: when the data are not a whole JPEG, PNG or other picture that OpenCV reads.
    """
    data = np.frombuffer(message.data, np.uint8)
    if len(data) == 0:
        raise InputError("compressed image is empty, expected a JPEG or PNG")
    # OpenCV fills the missing half of a JPEG with grey and says nothing.
    if bytes(data[:2]) == b"\xff\xd8" and not bytes(data[-4096:]).rstrip(b"\0").endswith(
        b"\xff\xd9"
    ):
        raise InputError(f"JPEG of {len(data)} bytes is cut off, expected its end marker")
    size = declared_size(bytes(data[:_HEADER_BYTES]))
    if size is not None and size[0] * size[1] > _MAX_PIXELS:
        raise InputError(
            f"compressed image promises {size[0]}x{size[1]}, expected at most {_MAX_PIXELS} pixels"
        )
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"compressed image of format {_shown(message.format)} cannot be decoded")
    return image


def _shown(text: str) -> str:
    """What somebody else wrote, in a form that fits into a line."""
    return reprlib.repr(text)


def bgr_to_image(image: np.ndarray, header: Header) -> Image:
    """A BGR picture (H, W, 3), uint8, as a message of encoding bgr8."""
    height, width = image.shape[:2]
    message = Image(header=header, height=height, width=width, encoding="bgr8", step=3 * width)
    # rclpy checks the type of every element unless it is an array of bytes already.
    message.data.frombytes(np.ascontiguousarray(image).data)
    return message


def bgr_to_compressed(image: np.ndarray, header: Header, quality: int = 90) -> CompressedImage:
    """A BGR picture (H, W, 3), uint8, as a JPEG message."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    message = CompressedImage(header=header, format="bgr8; jpeg compressed bgr8")
    message.data.frombytes(data.data)
    return message


def optical_frame(camera_name: str) -> str:
    """TF frame of a camera: x right, y down, z forward (REP-103)."""
    return f"{camera_name}_optical_frame"


def camera_info(camera: Camera, stamp: Time) -> CameraInfo:
    """A camera's intrinsics as a message."""
    width, height = camera.image_size
    projection = np.hstack([camera.K, np.zeros((3, 1))])
    return CameraInfo(
        header=Header(stamp=stamp, frame_id=optical_frame(camera.name)),
        width=width,
        height=height,
        distortion_model=_distortion_model(camera),
        d=camera.distortion.tolist(),
        k=camera.K.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=projection.ravel().tolist(),
    )


def _distortion_model(camera: Camera) -> str:
    if camera.fisheye:
        return "equidistant"
    return "plumb_bob" if len(camera.distortion) == 5 else "rational_polynomial"


def camera_transform(camera: Camera, frame_id: str) -> TransformStamped:
    """Where the camera's optical frame is in the rig's frame, as TF wants it."""
    transform = TransformStamped(child_frame_id=optical_frame(camera.name))
    transform.header.frame_id = frame_id
    position, rotation = transform.transform.translation, transform.transform.rotation
    position.x, position.y, position.z = (float(v) for v in camera.C / MM_PER_M)
    quaternion = Rotation.from_matrix(camera.R.T).as_quat()
    rotation.x, rotation.y, rotation.z, rotation.w = (float(v) for v in quaternion)
    return transform


def body_transform(skeleton: Skeleton, joint_set: JointSet, header: Header) -> TransformStamped:
    """The frame `body_<id>` of a person (REP-155): at mid-hip, x forward, z up (REP-103)."""
    transform = TransformStamped(header=header, child_frame_id=f"body_{skeleton.track_id}")
    position, rotation = transform.transform.translation, transform.transform.rotation
    root = joint_set.root_of(skeleton.joints) / MM_PER_M
    position.x, position.y, position.z = (float(value) for value in root)
    left, right = (skeleton.joints[joint_set.index(f"{side}_hip")] for side in ("left", "right"))
    # Forward is what lies a quarter turn clockwise of the way from the right hip to the left.
    heading = np.arctan2(-(left - right)[0], (left - right)[1])
    _, _, rotation.z, rotation.w = Rotation.from_euler("z", heading).as_quat().tolist()
    return transform


def intrinsics_from_message(info: CameraInfo, rectified: bool = False) -> Intrinsics:
    """The intrinsics of the raw image, or of the rectified one (P and R, no distortion).

    Raises:
        InputError: when they are missing (K or P all zero) or not usable.
    """
    return intrinsics_of(_fields(info), rectified)


def _fields(info: CameraInfo) -> CameraInfoFields:
    roi = info.roi
    return CameraInfoFields(
        (info.width, info.height),
        np.reshape(info.k, (3, 3)),
        info.distortion_model,
        np.array(info.d),
        np.reshape(info.r, (3, 3)),
        np.reshape(info.p, (3, 4)),
        (info.binning_x, info.binning_y),
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
    )


def camera_from_messages(
    name: str, info: CameraInfo, transform: TransformStamped, rectified: bool = False
) -> Camera:
    """A camera from its CameraInfo and the pose of its optical frame in the world (TF, metres).

    Args:
        name: the camera's name.
        info: its CameraInfo.
        transform: pose of the optical frame of the raw image.
        rectified: the images are rectified.

    Raises:
        InputError: when the intrinsics are missing (K all zero) or not usable.
    """
    position, rotation = transform.transform.translation, transform.transform.rotation
    quaternion = np.array([rotation.x, rotation.y, rotation.z, rotation.w])
    if not abs(np.linalg.norm(quaternion) - 1.0) < 1e-2:
        raise InputError(f"transform of '{name}' has no rotation, expected a unit quaternion")
    return intrinsics_from_message(info, rectified).camera(
        name,
        Rotation.from_quat(quaternion).as_matrix().T,
        MM_PER_M * np.array([position.x, position.y, position.z]),
    )


def check_camera_info(message: CameraInfo, camera: Camera, rectified: bool = False) -> None:
    """Compare a CameraInfo with the rig's calibration of that camera.

    A message without intrinsics (K all zero, as uncalibrated drivers send it) says nothing of them.

    Args:
        message: the CameraInfo.
        camera: the rig's camera.
        rectified: the images are rectified, so that P is compared, and distortion is to be zero.

    Raises:
        InputError: naming what contradicts: image size, K (or P) beyond 2 % of the image's width,
            or of the same lens model a distortion coefficient beyond 0.05.
    """
    fields = _fields(message)
    has_intrinsics = bool(np.any(fields.P if rectified else fields.K))
    if not has_intrinsics:
        # The size is compared all the same.
        fields = dataclasses.replace(fields, K=np.eye(3), P=np.eye(3, 4))
    size, K = image_geometry(fields, rectified)
    if not _fits(size, camera):
        raise InputError(
            f"CameraInfo says {size[0]}x{size[1]} pixels, the rig file "
            f"{camera.image_size[0]}x{camera.image_size[1]} for camera '{camera.name}'"
        )
    if not has_intrinsics:
        return
    scaled = ""
    if is_scaled_copy(size, camera):
        camera = scaled_camera(camera, size)
        scaled = f", scaled to {size[0]}x{size[1]},"
    if not _same_matrix(K, camera):
        raise InputError(
            f"CameraInfo says fx {K[0, 0]:.1f}, fy {K[1, 1]:.1f}, cx {K[0, 2]:.1f}, "
            f"cy {K[1, 2]:.1f}{' (P)' * rectified}, the rig file{scaled} {camera.K[0, 0]:.1f}, "
            f"{camera.K[1, 1]:.1f}, {camera.K[0, 2]:.1f}, {camera.K[1, 2]:.1f} for camera "
            f"'{camera.name}'{_other_image(fields, camera, rectified)}"
        )
    if rectified:
        _check_undistorted(camera)
    else:
        _check_distortion(fields, camera)


def _same_matrix(K: np.ndarray, camera: Camera) -> bool:
    return bool(np.abs(K - camera.K).max() <= 0.02 * camera.image_size[0])


def _other_image(fields: CameraInfoFields, camera: Camera, rectified: bool) -> str:
    """What to do where the rig file is that of the camera's other image, rectified or raw."""
    if not np.any(fields.K if rectified else fields.P):
        return ""
    _, K = image_geometry(fields, not rectified)
    if not _same_matrix(K, camera):
        return ""
    if rectified:
        return ", which is that of the raw image: subscribe to image_raw, or set rectified:=false"
    return ", which is that of the rectified image: subscribe to image_rect, or set rectified:=true"


def _check_undistorted(camera: Camera) -> None:
    if camera.fisheye or np.any(camera.distortion):
        raise InputError(
            f"the images are rectified, but the rig file has a lens with distortion for camera "
            f"'{camera.name}', expected a rig from P: subscribe to image_raw, or set "
            "rectified:=false"
        )


def _check_distortion(fields: CameraInfoFields, camera: Camera) -> None:
    try:
        distortion, fisheye, _ = lens_of(fields)
    except InputError:
        # A lens model that this package lacks: there is nothing to compare.
        return
    if fisheye != camera.fisheye or len(distortion) != len(camera.distortion):
        return
    if not np.abs(distortion - camera.distortion).max() <= 0.05:
        raise InputError(
            f"CameraInfo says distortion {np.round(distortion, 4).tolist()}, the rig file "
            f"{np.round(camera.distortion, 4).tolist()} for camera '{camera.name}'"
        )


def skeletons_to_message(
    skeletons: Sequence[Skeleton],
    joint_set: JointSet,
    cameras: Sequence[str],
    header: Header,
) -> SkeletonArray:
    """Skeletons in mm as a message in metres; `header.frame_id` is the rig's frame."""
    return SkeletonArray(
        header=header,
        joint_set=joint_set.name,
        joint_names=list(joint_set.joint_names),
        limbs=[joint for limb in joint_set.limbs for joint in limb],
        cameras=list(cameras),
        skeletons=[_skeleton_to_message(skeleton, joint_set) for skeleton in skeletons],
    )


def joints_to_message(
    people: np.ndarray, joint_set: JointSet, cameras: Sequence[str], header: Header
) -> SkeletonArray:
    """Known joints (P, J, 3) in mm, numbered and certain, as a message in metres."""
    message = skeletons_to_message([], joint_set, cameras, header)
    message.skeletons = [
        SkeletonMessage(
            track_id=number,
            score=1.0,
            root=point_in_metres(joint_set.root_of(joints)),
            joints=[point_in_metres(joint) for joint in joints],
            joint_scores=[1.0] * len(joints),
            joint_valid=[True] * len(joints),
        )
        for number, joints in enumerate(people)
    ]
    return message


def _skeleton_to_message(skeleton: Skeleton, joint_set: JointSet) -> SkeletonMessage:
    return SkeletonMessage(
        track_id=int(skeleton.track_id),
        score=float(skeleton.score),
        root=point_in_metres(joint_set.root_of(np.asarray(skeleton.joints))),
        joints=[point_in_metres(joint) for joint in skeleton.joints],
        joint_scores=[float(score) for score in skeleton.joint_scores],
        joint_valid=[bool(valid) for valid in skeleton.joint_valid],
        joint_velocities=_velocities(skeleton.joint_velocities),
        joint_covariances=_covariances(skeleton.joint_covariances),
    )


def _velocities(mm_per_s: np.ndarray | None) -> list[Vector3]:
    if mm_per_s is None:
        return []
    return [Vector3(x=x, y=y, z=z) for x, y, z in (np.asarray(mm_per_s) / MM_PER_M).tolist()]


def _covariances(mm2: np.ndarray | None) -> array.array:
    """Nine values per joint, row-major, m^2; an array, whose elements rclpy need not check one by one."""
    if mm2 is None:
        return array.array("d")
    return array.array("d", (np.asarray(mm2, np.float64) / MM_PER_M**2).tobytes())


def point_in_metres(position: np.ndarray) -> Point:
    """A position (3,) in mm as a message."""
    x, y, z = (float(value) / MM_PER_M for value in position[:3])
    return Point(x=x, y=y, z=z)


def skeletons_from_message(message: SkeletonArray) -> list[Skeleton]:
    """A message's skeletons, back in mm.

    Raises:
        InputError: for an unknown joint set, or arrays that are not one value per joint (nine in
            `joint_covariances`).
    """
    joints = len(get_joint_set(message.joint_set))
    skeletons = []
    for person in message.skeletons:
        velocities = person.joint_velocities or None
        arrays = (person.joints, person.joint_scores, person.joint_valid, velocities)
        lengths = {len(values) for values in arrays if values is not None}
        if lengths != {joints}:
            raise InputError(
                f"skeleton {person.track_id} has {sorted(lengths)} joint values, expected "
                f"{joints} of {message.joint_set}"
            )
        covariances = person.joint_covariances
        if len(covariances) not in (0, 9 * joints):
            raise InputError(
                f"skeleton {person.track_id} has {len(covariances)} values in joint_covariances, "
                f"expected 9 for each of {joints} joints of {message.joint_set}, or none"
            )
        skeletons.append(
            Skeleton(
                joints=MM_PER_M * np.array([[p.x, p.y, p.z] for p in person.joints]),
                joint_scores=np.array(person.joint_scores, dtype=np.float64),
                joint_valid=np.array(person.joint_valid, dtype=bool),
                score=person.score,
                track_id=person.track_id,
                joint_velocities=velocities
                and MM_PER_M * np.array([[v.x, v.y, v.z] for v in velocities]),
                joint_covariances=MM_PER_M**2 * np.reshape(covariances, (joints, 3, 3))
                if len(covariances)
                else None,
            )
        )
    return skeletons


def keypoints_to_message(
    keypoints: np.ndarray, camera: Camera, joint_set: JointSet, header: Header
) -> Keypoints2DArray:
    """A camera's 2D detections (P, J, 3) of x px, y px, score as a message."""
    return keypoints_message(keypoints, camera.name, camera.image_size, joint_set, header)


def keypoints_message(
    keypoints: np.ndarray,
    camera: str,
    image_size: tuple[int, int],
    joint_set: JointSet,
    header: Header,
) -> Keypoints2DArray:
    """The same of a camera of which only its name and the size of its image are known."""
    people = []
    for person in np.asarray(keypoints, dtype=np.float32):
        x, y, scores = (column.tolist() for column in person.T)
        people.append(Keypoints2D(score=max(scores), x=x, y=y, keypoint_scores=scores))
    return Keypoints2DArray(
        header=header,
        camera=camera,
        image_width=image_size[0],
        image_height=image_size[1],
        joint_set=joint_set.name,
        people=people,
    )


def keypoints_from_message(
    message: Keypoints2DArray, camera: Camera, joint_set: JointSet
) -> np.ndarray:
    """(P, J, 3) float32, x px, y px, score (clipped to 0 to 1), of the people in the message.

    Keypoints of a scaled copy of the calibrated image are scaled to the calibrated one.

    Raises:
        InputError: when camera, image size or joint set are not those expected, lengths differ,
            values are not finite, or there are more than 100 people.
    """
    if message.camera and message.camera != camera.name:
        raise InputError(
            f"keypoints are of camera {_shown(message.camera)}, expected '{camera.name}'"
        )
    if message.joint_set != joint_set.name:
        raise InputError(f"joint set is {_shown(message.joint_set)}, expected '{joint_set.name}'")
    size = (message.image_width, message.image_height)
    check_image_size(size, camera)
    if len(message.people) > MAX_PEOPLE:
        raise InputError(f"{len(message.people)} people, expected at most {MAX_PEOPLE}")
    keypoints = np.zeros((len(message.people), len(joint_set), 3), np.float32)
    for row, person in zip(keypoints, message.people):
        for column, values in enumerate((person.x, person.y, person.keypoint_scores)):
            if len(values) != len(joint_set):
                raise InputError(
                    f"a person has {len(values)} keypoints, expected {len(joint_set)} "
                    f"of {joint_set.name}"
                )
            row[:, column] = values
    if not np.isfinite(keypoints).all():
        raise InputError("a keypoint is not finite, expected pixels and scores")
    # Some detectors' scores leave that range by a little.
    keypoints[..., 2] = keypoints[..., 2].clip(0.0, 1.0)
    if is_scaled_copy(size, camera):
        keypoints[..., :2] = scaled_points(keypoints[..., :2], size, camera.image_size)
    return keypoints


def check_image_size(size: tuple[int, int], camera: Camera) -> None:
    """InputError when (width, height) is not the size that the camera was calibrated at.

    The rim that a codec crops is let pass, see `sources.is_codec_crop`, and a scaled copy.
    """
    if not _fits(size, camera):
        raise InputError(
            f"image is {size[0]}x{size[1]}, camera '{camera.name}' is calibrated for "
            f"{camera.image_size[0]}x{camera.image_size[1]}"
        )


def _fits(size: tuple[int, int], camera: Camera) -> bool:
    whole = tuple(size) == camera.image_size
    return whole or is_codec_crop(size, camera) or is_scaled_copy(size, camera)
