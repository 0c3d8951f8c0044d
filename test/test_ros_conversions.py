"""Messages to core types and back: pictures of every encoding, intrinsics, skeletons, keypoints."""

import dataclasses
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

import rclpy
from bad_messages import giant_png
from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.image_headers import declared_size
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.ros_messages.camera_info import camera_from_messages, check_camera_info, check_image_size
from voxelpose_core.ros_messages.keypoints import keypoints_from_message
from voxelpose_core.ros_messages.skeletons import skeletons_from_message
from voxelpose_core.skeletons import COCO17, PANOPTIC15, get_joint_set
from voxelpose_ros import camera_info_messages, conversions, image_messages, topics
from voxelpose_ros.calibration import TopicCalibration
from voxelpose_ros.msg import Keypoints2D, SkeletonArray
from voxelpose_ros.parameters import Parameters
from voxelpose_ros.settings import NodeSettings

HEADER = Header(stamp=Time(sec=12, nanosec=34), frame_id="world")


@pytest.fixture
def camera():
    K = [[500.0, 0.0, 320.0], [0.0, 510.0, 240.0], [0.0, 0.0, 1.0]]
    turn = [[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]]
    distortion = [-0.2, 0.05, 0.001, -0.002, 0.01]
    return Camera("left", (640, 480), K, distortion, turn, [1000, 2000, 3000])


def picture(width=16, height=8):
    """A smooth picture, in whose Bayer mosaic and chroma little is lost."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + 4 * x, 90 + 6 * y, 200 - 4 * x], axis=-1).astype(np.uint8)


def image_message(pixels, encoding, padding=0):
    """Rows of pixels (H, W[, C]) as a message, with padding bytes after each row."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    message = Image(height=height, width=width, encoding=encoding, step=rows.shape[1])
    message.data.frombytes(rows.tobytes())
    return message


def mosaic(image, pattern):
    """What a sensor with the Bayer pattern (row by row, such as "rggb") sees of a BGR image."""
    raw = np.zeros(image.shape[:2], np.uint8)
    for place, letter in enumerate(pattern):
        rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
        raw[rows, columns] = image[rows, columns, "bgr".index(letter)]
    return raw


def encoded(image, encoding):
    if encoding.endswith("16") or encoding == "16UC1":
        # Little endian, low bytes full of noise.
        pixels = encoded(image, encoding.replace("16UC1", "mono8").replace("16", "8"))
        noise = np.random.default_rng(0).integers(0, 256, pixels.shape)
        return (256 * pixels.astype("<u2") + noise).astype("<u2").view(np.uint8)
    if encoding in ("bgr8", "8UC3"):
        return image
    if encoding in ("mono8", "8UC1"):
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if encoding.startswith("bayer_"):
        return mosaic(image, encoding[6:10])
    code = {
        "rgb8": cv2.COLOR_BGR2RGB,
        "bgra8": cv2.COLOR_BGR2BGRA,
        "rgba8": cv2.COLOR_BGR2RGBA,
        "yuv422": cv2.COLOR_BGR2YUV_UYVY,
        "uyvy": cv2.COLOR_BGR2YUV_UYVY,
        "yuv422_yuy2": cv2.COLOR_BGR2YUV_YUY2,
        "yuyv": cv2.COLOR_BGR2YUV_YUY2,
    }[encoding]
    return cv2.cvtColor(image, code)


ENCODINGS = (
    "bgr8 8UC3 rgb8 mono8 8UC1 bgra8 rgba8 yuv422 uyvy yuv422_yuy2 yuyv bayer_rggb8 bayer_bggr8 "
    "bayer_gbrg8 bayer_grbg8 mono16 16UC1 rgb16 bgr16 rgba16 bgra16 bayer_rggb16 bayer_grbg16"
).split()
GREY = ("mono8", "8UC1", "mono16", "16UC1")


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_common_encoding_gives_the_picture(encoding, padding):
    image = picture()
    message = image_message(encoded(image, encoding), encoding, padding)
    message.width = image.shape[1]
    found = image_messages.image_to_bgr(message)
    assert found.dtype == np.uint8
    expected = image
    if encoding in GREY:
        expected = cv2.cvtColor(encoded(image, "mono8"), cv2.COLOR_GRAY2BGR)
    # A mosaic has no colours at its edges, YUV rounds.
    inner = np.s_[2:-2, 2:-2] if encoding.startswith("bayer") else np.s_[:]
    tolerance = {"b": 8, "y": 6, "u": 6}.get(encoding[0], 0) if encoding[:3] != "bgr" else 0
    np.testing.assert_allclose(found[inner].astype(int), expected[inner], atol=tolerance)


def test_sixteen_bits_come_in_either_order():
    little = image_message(encoded(picture(), "mono16"), "mono16")
    big = image_message(encoded(picture(), "mono16").reshape(8, -1, 2)[:, :, ::-1], "mono16")
    little.width = big.width = 16
    big.is_bigendian = 1
    np.testing.assert_array_equal(image_messages.image_to_bgr(big), image_messages.image_to_bgr(little))


def test_a_bgr_picture_is_not_copied():
    message = image_message(picture(), "bgr8")
    before = message.data[0]
    image_messages.image_to_bgr(message)[0, 0, 0] = before + 1
    assert message.data[0] == before + 1


def test_encodings_beyond_the_common_ones_go_through_cv_bridge(monkeypatch):
    class CvBridge:
        def imgmsg_to_cv2(self, message, encoding):
            assert (message.encoding, encoding) == ("nv21", "bgr8")
            return picture()

    module = type("module", (), {"CvBridge": CvBridge})
    monkeypatch.setitem(__import__("sys").modules, "cv_bridge", module)
    found = image_messages.to_bgr(image_message(np.zeros((8, 32), np.uint8), "nv21"))
    np.testing.assert_array_equal(found, picture())


def test_cv_bridge_reads_our_messages_alike():
    cv_bridge = pytest.importorskip("cv_bridge")
    message = image_messages.bgr_to_image(picture(), HEADER)
    found = cv_bridge.CvBridge().imgmsg_to_cv2(message, "bgr8")
    np.testing.assert_array_equal(found, picture())


def test_images_survive_the_way_there_and_back():
    message = image_messages.bgr_to_image(picture()[:, ::2], HEADER)
    assert (message.width, message.height, message.step) == (8, 8, 24)
    np.testing.assert_array_equal(image_messages.image_to_bgr(message), picture()[:, ::2])
    assert message.header == HEADER


def broken(**changes):
    message = image_message(picture(), "bgr8")
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (broken(encoding="h264"), "encoding 'h264' is unknown, expected one of bgr8"),
        (broken(encoding=""), "encoding '' is unknown"),
        (broken(width=0), "image is 0x8, expected pixels"),
        (broken(height=0), "image is 16x0, expected pixels"),
        (broken(data=[]), "image has 0 bytes, expected step 48 x 8 rows"),
        (broken(height=9), "image has 384 bytes, expected step 48 x 9 rows"),
        (broken(width=17), "step is 48 bytes, expected at least 51 for 17 pixels of bgr8"),
        (broken(encoding="bgra8"), "expected at least 64"),
        (broken(encoding="yuv422", width=15), "cannot be yuv422, expected even sizes"),
    ],
)
def test_a_broken_image_is_refused_in_one_line(message, text):
    with pytest.raises(InputError, match=text) as caught:
        image_messages.image_to_bgr(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_compressed_images(suffix):
    data = cv2.imencode(suffix, picture())[1].tobytes()
    found = image_messages.compressed_to_bgr(CompressedImage(format=suffix[1:], data=data))
    np.testing.assert_allclose(found.astype(int), picture(), atol=12)


def test_compressed_images_survive_the_way_there_and_back():
    message = image_messages.bgr_to_compressed(picture(), HEADER, quality=95)
    assert "jpeg" in message.format
    np.testing.assert_allclose(image_messages.compressed_to_bgr(message).astype(int), picture(), atol=12)


JPEG = cv2.imencode(".jpg", picture(160, 120))[1].tobytes()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "is empty"),
        (JPEG[: len(JPEG) // 2], "is cut off"),
        (b"\xff\xd8\xff\xd9", "cannot be decoded"),
        (b"not a picture", "cannot be decoded"),
    ],
)
def test_a_broken_compressed_image_is_refused_in_one_line(data, text):
    with pytest.raises(InputError, match=text):
        image_messages.compressed_to_bgr(CompressedImage(format="jpeg", data=data))


def test_zeros_after_the_end_of_a_jpeg_are_harmless():
    message = CompressedImage(format="jpeg", data=JPEG + bytes(64))
    assert image_messages.compressed_to_bgr(message).shape == (120, 160, 3)


@pytest.mark.parametrize("nanoseconds", [0, 1, 1_700_000_000_123_456_789, -1, -1_500_000_000])
def test_stamps_survive_the_way_there_and_back(nanoseconds):
    assert conversions.to_nanoseconds(conversions.to_stamp(nanoseconds)) == nanoseconds


def test_camera_info_says_what_the_rig_says(camera):
    message = camera_info_messages.camera_info(camera, HEADER.stamp)
    assert (message.width, message.height) == (640, 480)
    np.testing.assert_array_equal(np.reshape(message.k, (3, 3)), camera.K)
    np.testing.assert_array_equal(message.d, camera.distortion)
    assert message.header.frame_id == "left_optical_frame"
    check_camera_info(message, camera)


@pytest.mark.parametrize(
    ("lens", "model"),
    [
        ({"distortion": [0.3, -0.1, 0, 0, 0.01, 0.6, -0.1, 0.02]}, "rational_polynomial"),
        ({"distortion": [0.1, 0, -0.02, 0.003], "fisheye": True}, "equidistant"),
    ],
)
def test_camera_info_names_the_lens_model(camera, lens, model):
    camera = dataclasses.replace(camera, **lens)
    message = camera_info_messages.camera_info(camera, HEADER.stamp)
    assert message.distortion_model == model
    np.testing.assert_array_equal(message.d, camera.distortion)
    check_camera_info(message, camera)
    with pytest.raises(InputError, match="says distortion"):
        check_camera_info(changed_info(camera, d=[0.9] * len(message.d)), camera)


def changed_info(camera, **changes):
    message = camera_info_messages.camera_info(camera, HEADER.stamp)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(("heading", "joint_set"), [(0, "coco17"), (70, "panoptic15"), (-160, "campus14")])
def test_a_bodys_frame_looks_where_the_person_does(heading, joint_set):
    joint_set = get_joint_set(joint_set)
    forward = np.array([np.cos(np.radians(heading)), np.sin(np.radians(heading)), 0.0])
    left = np.array([-forward[1], forward[0], 0.0])
    joints = np.tile([1000.0, 2000.0, 900.0], (len(joint_set), 1))
    joints[joint_set.index("left_hip")] += 150.0 * left
    joints[joint_set.index("right_hip")] -= 150.0 * left
    ones = np.ones(len(joint_set))
    person = Skeleton(joints, ones, ones.astype(bool), 0.9, track_id=7)
    found = conversions.body_transform(person, joint_set, HEADER)
    assert (found.child_frame_id, found.header) == ("body_7", HEADER)
    place, q = found.transform.translation, found.transform.rotation
    np.testing.assert_allclose([place.x, place.y, place.z], [1.0, 2.0, 0.9])
    axes = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    np.testing.assert_allclose(axes, np.column_stack([forward, left, [0, 0, 1]]), atol=1e-9)


@pytest.mark.parametrize(
    "lens",
    [
        {},
        {"distortion": [0.3, -0.1, 0, 0, 0.01, 0.6, -0.1, 0.02]},
        {"distortion": [0.1, 0, -0.02, 0.003], "fisheye": True},
    ],
)
def test_a_camera_comes_back_from_its_messages(camera, lens):
    camera = dataclasses.replace(camera, **lens)
    found = camera_from_messages(
        "left",
        camera_info_messages.camera_info(camera, HEADER.stamp),
        conversions.camera_transform(camera, "map"),
    )
    assert (found.name, found.image_size, found.fisheye) == ("left", (640, 480), camera.fisheye)
    for name in ("K", "distortion", "R", "C"):
        np.testing.assert_allclose(getattr(found, name), getattr(camera, name), atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"k": [0.0] * 9}, "no intrinsics"),
        ({"k": [float("nan")] * 9}, "K has a value that is not finite"),
        ({"width": 0}, "image size is 0x480"),
        ({"d": [0.1] * 7}, "distortion has 7 coefficients"),
        ({"distortion_model": "mirror"}, "distortion model is 'mirror', expected one of plumb_bob"),
    ],
)
def test_a_camera_info_that_is_no_calibration_is_refused(camera, changes, text):
    transform = conversions.camera_transform(camera, "map")
    with pytest.raises(InputError, match=text):
        camera_from_messages("left", changed_info(camera, **changes), transform)


def windowed(camera, **changes):
    """A CameraInfo with a region of interest of 400 x 300 at (100, 60), binned by two."""
    message = changed_info(camera, binning_x=2, binning_y=2, **changes)
    message.roi.x_offset, message.roi.y_offset = 100, 60
    message.roi.width, message.roi.height = 400, 300
    return message


@pytest.mark.parametrize(
    ("model", "d", "distortion", "fisheye"),
    [
        ("plumb_bob", [0.1] * 5 + [0.0] * 9, [0.1] * 5, False),
        ("rational_polynomial", [0.1] * 8 + [0.0] * 6, [0.1] * 8, False),
        ("fisheye", [0.1] * 4, [0.1] * 4, True),
        ("equidistant", [0.1] * 4 + [0.0], [0.1] * 4, True),
    ],
)
def test_messages_follow_the_rules_of_files(camera, model, d, distortion, fisheye):
    info = changed_info(camera, distortion_model=model, d=d)
    transform = conversions.camera_transform(camera, "map")
    found = camera_from_messages("left", info, transform)
    assert found.fisheye == fisheye
    np.testing.assert_array_equal(found.distortion, distortion)
    thin_prism = changed_info(camera, d=[0.1] * 12)
    with pytest.raises(InputError, match="thin prism or tilt terms .12 coefficients"):
        camera_from_messages("left", thin_prism, transform)


def test_binning_and_region_of_interest_of_a_message(camera):
    transform = conversions.camera_transform(camera, "map")
    found = camera_from_messages("left", windowed(camera), transform)
    assert found.image_size == (200, 150)
    np.testing.assert_allclose(found.K, [[250, 0, 110], [0, 255, 90], [0, 0, 1]])
    check_camera_info(windowed(camera), found)
    # The window has the aspect of the whole image, but not its view.
    with pytest.raises(InputError, match="says fx 250.0, .* the rig file, scaled to 200x150, 156.2"):
        check_camera_info(windowed(camera), camera)
    beyond = windowed(camera, width=450)
    with pytest.raises(InputError, match="region of interest is 400x300 at .100, 60., expected"):
        check_camera_info(beyond, camera)


RECTIFY = Rotation.from_euler("xyz", [2.0, -3.0, 1.5], degrees=True).as_matrix()
RECTIFIED_P = [420.0, 0.0, 330.0, -50.0, 0.0, 420.0, 250.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def test_a_rectified_camera_comes_from_r_and_p(camera):
    info = changed_info(camera, r=RECTIFY.ravel().tolist(), p=RECTIFIED_P)
    transform = conversions.camera_transform(camera, "map")
    found = camera_from_messages("left", info, transform, rectified=True)
    np.testing.assert_allclose(found.K, [[420, 0, 330], [0, 420, 250], [0, 0, 1]])
    np.testing.assert_allclose(found.R, RECTIFY @ camera.R, atol=1e-9)
    np.testing.assert_allclose(found.C, camera.C, atol=1e-9)
    assert not found.distortion.any()
    # A point lies where OpenCV rectifies its raw pixel to.
    points = camera.unproject(np.array([[100.0, 90.0], [500.0, 400.0], [320.0, 240.0]]), 3000.0)
    raw = camera.project(points)[0][:, None]
    P = np.reshape(RECTIFIED_P, (3, 4))[:, :3]
    expected = cv2.undistortPoints(raw, camera.K, camera.distortion, R=RECTIFY, P=P)[:, 0]
    np.testing.assert_allclose(found.project(points)[0], expected, atol=0.05)


def test_a_rig_of_the_rectified_image_is_compared_with_p(camera):
    info = changed_info(camera, r=RECTIFY.ravel().tolist(), p=RECTIFIED_P)
    transform = conversions.camera_transform(camera, "map")
    rectified = camera_from_messages("left", info, transform, rectified=True)
    check_camera_info(info, rectified, rectified=True)
    check_camera_info(info, camera)
    with pytest.raises(InputError, match="fx 500.*of the rectified image: subscribe to image_rect"):
        check_camera_info(info, rectified)
    with pytest.raises(InputError, match=r"fx 420.*\(P\).*raw image: subscribe to image_raw"):
        check_camera_info(info, camera, rectified=True)
    # K and P alike: only the distortion tells.
    alike = changed_info(camera)
    with pytest.raises(InputError, match="images are rectified, but the rig file has a lens with"):
        check_camera_info(alike, camera, rectified=True)
    unsaid = changed_info(camera, p=[0.0] * 12)
    check_camera_info(unsaid, rectified, rectified=True)


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [
        ("/left/image_rect", True),
        ("/left/image_rect_color", True),
        ("/left/image_rect/compressed", True),
        ("/left/image_raw", False),
        ("/left/image_raw/compressed", False),
        ("/rectangle/image", False),
        ("/left/keypoints", False),
    ],
)
def test_names_of_rectified_topics(topic, rectified):
    assert topics.is_rectified(topic) == rectified


@pytest.fixture
def ros_node():
    rclpy.init()
    node = rclpy.create_node("reader")
    yield node
    node.destroy_node()
    rclpy.shutdown()


@pytest.mark.parametrize(
    ("given", "raw", "rect"), [("auto", False, True), (True, True, True), ("false", False, False)]
)
def test_the_parameter_rectified(ros_node, given, raw, rect):
    ros_node.declare_parameter("rectified", given)
    settings = NodeSettings.read(Parameters(ros_node))
    assert settings.is_rectified("/left/image_raw") == raw
    assert settings.is_rectified("/left/image_rect") == rect


class Transforms:
    """What tf2_ros gives: the poses of optical frames."""

    TransformException = KeyError

    def __init__(self, cameras):
        self._frames = {
            f"{camera.name}_optical_frame": conversions.camera_transform(camera, "map") for camera in cameras
        }

    def Buffer(self):
        return self

    def TransformListener(self, buffer, node):
        return self

    def lookup_transform(self, world, frame, time):
        return self._frames[frame]

    def unregister(self):
        pass


def test_a_calibration_from_topics_follows_the_same_rules(camera, ros_node, monkeypatch):
    right = dataclasses.replace(camera, name="right", C=[3000, 1000, 2500])
    monkeypatch.setitem(sys.modules, "tf2_ros", Transforms([camera, right]))
    image_topics = {"left": "/left/image_rect", "right": "/right/image_raw"}
    calibration = TopicCalibration(ros_node, image_topics, "map")
    received = {s.topic_name: s.callback for s in ros_node.subscriptions}
    info = changed_info(camera, r=RECTIFY.ravel().tolist(), p=RECTIFIED_P)
    received["/left/camera_info"](info)
    with pytest.raises(InputError, match="/right/camera_info: no CameraInfo has come yet"):
        calibration.poll()
    t265 = changed_info(right, width=848, height=800, d=[-0.003, 0.04, -0.037, 0.006, 0.0])
    received["/right/camera_info"](t265)
    rig = calibration.poll()
    first, second = rig.cameras
    np.testing.assert_allclose(first.K[0, 0], 420.0)
    np.testing.assert_allclose(first.R, RECTIFY @ camera.R, atol=1e-9)
    assert second.fisheye and len(rig.notes) == 1 and "camera 'right': plumb_bob" in rig.notes[0]
    assert calibration.poll() is None
    t265.distortion_model = "equidistant"
    t265.binning_x = t265.binning_y = 2
    rig = calibration.poll()
    assert rig.cameras[1].image_size == (424, 400) and rig.notes == ()
    info.p = [0.0] * 12
    with pytest.raises(InputError, match="/left/camera_info: .*no projection matrix"):
        calibration.poll()
    calibration.close()


def test_a_transform_without_a_rotation_is_refused(camera):
    transform = conversions.camera_transform(camera, "map")
    transform.transform.rotation.w = transform.transform.rotation.x = 0.0
    transform.transform.rotation.y = transform.transform.rotation.z = 0.0
    with pytest.raises(InputError, match="no rotation, expected a unit quaternion"):
        camera_from_messages("left", camera_info_messages.camera_info(camera, HEADER.stamp), transform)


def test_what_a_codec_crops_still_fits(camera):
    check_image_size((640, 472), camera)
    check_camera_info(changed_info(camera, height=472), camera)
    for size in ((640, 464), (641, 480), (472, 640)):
        with pytest.raises(InputError, match="calibrated for 640x480"):
            check_image_size(size, camera)


def test_a_scaled_copy_fits_and_its_keypoints_are_scaled(camera):
    check_image_size((320, 240), camera)
    K = camera.K
    half = [K[0, 0] / 2, 0, K[0, 2] / 2 - 0.25, 0, K[1, 1] / 2, K[1, 2] / 2 - 0.25, 0, 0, 1]
    check_camera_info(changed_info(camera, width=320, height=240, k=half), camera)
    with pytest.raises(InputError, match="CameraInfo says fx"):
        check_camera_info(changed_info(camera, width=320, height=240), camera)
    people = np.full((1, 17, 3), 0.5, np.float32)
    people[..., 0], people[..., 1] = 99.5, 59.5
    message = conversions.keypoints_message(people, "left", (320, 240), COCO17, HEADER)
    found = keypoints_from_message(message, camera, COCO17)
    np.testing.assert_allclose(found[0, 0], [199.5, 119.5, 0.5], atol=1e-4)


def test_a_driver_without_calibration_contradicts_nothing(camera):
    check_camera_info(changed_info(camera, k=[0.0] * 9), camera)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"width": 1280}, "says 1280x480 pixels, the rig file 640x480 for camera 'left'"),
        ({"k": [700.0, 0, 320, 0, 510, 240, 0, 0, 1]}, "says fx 700.0, fy 510.0"),
        ({"k": [float("nan")] * 9}, "says fx nan"),
        ({"d": [0.2, 0.05, 0.001, -0.002, 0.01]}, "says distortion"),
        ({"d": [float("nan")] * 5}, "says distortion"),
    ],
)
def test_a_camera_info_that_contradicts_the_rig_is_told(camera, changes, text):
    with pytest.raises(InputError, match=text):
        check_camera_info(changed_info(camera, **changes), camera)


def test_the_camera_transform_takes_optical_points_to_the_world(camera):
    transform = conversions.camera_transform(camera, "map").transform
    q, t = transform.rotation, transform.translation
    turn = Rotation.from_quat([q.x, q.y, q.z, q.w])
    world_mm = np.array([[4000.0, -2500.0, 1200.0]])
    local_m = camera.to_camera(world_mm) / 1000
    np.testing.assert_allclose(turn.apply(local_m) + [t.x, t.y, t.z], world_mm / 1000)


def skeleton(joint_set=COCO17, track_id=4, seed=0):
    random = np.random.default_rng(seed)
    joints = random.uniform(-3000, 3000, (len(joint_set), 3))
    scores = random.uniform(0, 1, len(joint_set))
    velocities = random.uniform(-2000, 2000, joints.shape)
    return Skeleton(joints, scores, scores > 0.3, 0.75, track_id, velocities)


@pytest.mark.parametrize("joint_set", [COCO17, PANOPTIC15])
def test_skeletons_cross_in_metres(joint_set):
    person = skeleton(joint_set)
    message = conversions.skeletons_to_message([person], joint_set, ["left", "right"], HEADER)
    assert message.header == HEADER
    assert message.joint_set == joint_set.name
    assert list(message.joint_names) == list(joint_set.joint_names)
    assert list(zip(message.limbs[::2], message.limbs[1::2])) == list(joint_set.limbs)
    assert list(message.cameras) == ["left", "right"]
    (found,) = message.skeletons
    first = found.joints[0]
    np.testing.assert_allclose([first.x, first.y, first.z], person.joints[0] / 1000)
    root = joint_set.root_of(person.joints) / 1000
    np.testing.assert_allclose([found.root.x, found.root.y, found.root.z], root)
    (back,) = skeletons_from_message(message)
    np.testing.assert_allclose(back.joints, person.joints)
    np.testing.assert_allclose(back.joint_scores, person.joint_scores, atol=1e-6)
    np.testing.assert_array_equal(back.joint_valid, person.joint_valid)
    assert (back.score, back.track_id) == (0.75, 4)
    np.testing.assert_allclose(back.joint_velocities, person.joint_velocities)
    fastest = found.joint_velocities[0]
    np.testing.assert_allclose([fastest.x, fastest.y, fastest.z], person.joint_velocities[0] / 1000)


def test_without_a_tracker_there_are_no_velocities():
    person = dataclasses.replace(skeleton(), joint_velocities=None)
    message = conversions.skeletons_to_message([person], COCO17, [], HEADER)
    assert message.skeletons[0].joint_velocities == []
    (back,) = skeletons_from_message(message)
    assert back.joint_velocities is None


def test_covariances_cross_in_square_metres():
    spread = np.random.default_rng(1).normal(0, 30.0, (17, 3, 3))
    covariances = spread @ spread.swapaxes(1, 2)
    people = [dataclasses.replace(skeleton(), joint_covariances=covariances), skeleton(seed=1)]
    message = conversions.skeletons_to_message(people, COCO17, [], HEADER)
    message = deserialize_message(serialize_message(message), SkeletonArray)
    known, unknown = message.skeletons
    assert len(known.joint_covariances) == 9 * 17 and len(unknown.joint_covariances) == 0
    # Row-major: the second value of joint 1 is its xy.
    assert known.joint_covariances[10] == pytest.approx(covariances[1, 0, 1] / 1e6)
    back, without = skeletons_from_message(message)
    np.testing.assert_allclose(back.joint_covariances, covariances)
    assert without.joint_covariances is None
    known.joint_covariances.pop()
    with pytest.raises(InputError, match="has 152 values in joint_covariances, expected 9 for each of 17"):
        skeletons_from_message(message)


def test_a_skeleton_of_another_joint_count_is_refused():
    message = conversions.skeletons_to_message([skeleton()], COCO17, [], HEADER)
    message.skeletons[0].joints.pop()
    with pytest.raises(InputError, match="expected 17 of coco17"):
        skeletons_from_message(message)


@pytest.mark.parametrize("size", [(60_000, 60_000), (20_000, 20_000)])
def test_images_that_promise_too_much_are_not_decoded(size):
    """A picture of black pixels compresses a thousand times."""
    message = CompressedImage(format="png", data=giant_png(*size))
    with pytest.raises(InputError, match=f"promises {size[0]}x{size[1]}, expected at most"):
        image_messages.compressed_to_bgr(message)


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_the_declared_size_is_that_of_the_picture(kind):
    picture = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    data = cv2.imencode(kind, picture)[1].tobytes()
    assert declared_size(data) == (640, 480)
    for cut in range(0, len(data), 7):
        assert declared_size(data[:cut]) in (None, (640, 480))
    assert declared_size(b"GIF89a" + data) is None


def test_progressive_jpegs_tell_their_size_too():
    picture = np.zeros((30, 50, 3), np.uint8)
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert declared_size(data) == (50, 30)


def test_what_others_write_does_not_fill_the_log(camera):
    for message, read in (
        (Image(width=1, height=1, step=1, data=b"0", encoding="x" * 10_000), "image_to_bgr"),
        (CompressedImage(format="x" * 10_000, data=b"junk"), "compressed_to_bgr"),
    ):
        with pytest.raises(InputError) as caught:
            getattr(image_messages, read)(message)
        assert len(str(caught.value)) < 600


def test_scores_a_little_outside_are_clipped(camera):
    message = keypoints_message(camera)
    for joint, score in enumerate((1.5, -0.5)):
        message.people[0].keypoint_scores[joint] = score
    found = keypoints_from_message(message, camera, COCO17)
    assert found[0, :2, 2].tolist() == [1.0, 0.0]


def test_other_scores_and_normalized_keypoints_are_refused(camera):
    message = keypoints_message(camera)
    message.people[0].keypoint_scores[2] = 87.0
    with pytest.raises(InputError, match="^a keypoint has the score 87, expected 0 .* to 1$"):
        keypoints_from_message(message, camera, COCO17)
    shares = keypoints() / np.float32([640, 480, 1])
    message = conversions.keypoints_to_message(shares, camera, COCO17, HEADER)
    with pytest.raises(InputError, match="^all keypoints have x and y .* expected pixels"):
        keypoints_from_message(message, camera, COCO17)


def keypoints(people=2):
    values = np.random.default_rng(1).uniform(0, 1, (people, 17, 3))
    return (values * [640, 480, 1]).astype(np.float32)


def test_keypoints_survive_the_way_there_and_back(camera):
    message = conversions.keypoints_to_message(keypoints(), camera, COCO17, HEADER)
    assert (message.camera, message.image_width, message.image_height) == ("left", 640, 480)
    found = keypoints_from_message(message, camera, COCO17)
    np.testing.assert_array_equal(found, keypoints())
    assert found.dtype == np.float32


def test_no_people_are_no_people(camera):
    message = conversions.keypoints_to_message(np.zeros((0, 17, 3)), camera, COCO17, HEADER)
    assert keypoints_from_message(message, camera, COCO17).shape == (0, 17, 3)


def keypoints_message(of_camera, /, **changes):
    message = conversions.keypoints_to_message(keypoints(), of_camera, COCO17, HEADER)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"camera": "right"}, "of camera 'right', expected 'left'"),
        ({"image_width": 320}, "320x480, camera 'left' is calibrated for 640x480"),
        ({"joint_set": "panoptic15"}, "'panoptic15', expected 'coco17'"),
        ({"people": [Keypoints2D()] * 10_000}, "10000 people, expected at most 100"),
    ],
)
def test_keypoints_that_do_not_fit_are_refused(camera, changes, text):
    with pytest.raises(InputError, match=text):
        keypoints_from_message(keypoints_message(camera, **changes), camera, COCO17)


@pytest.mark.parametrize(
    ("field", "values", "text"),
    [
        ("x", [1.0] * 16, "has 16 keypoints, expected 17 of coco17"),
        ("keypoint_scores", [], "has 0 keypoints"),
        ("y", [float("nan")] * 17, "not finite"),
        ("x", [float("inf")] * 17, "not finite"),
    ],
)
def test_keypoints_with_bad_values_are_refused(camera, field, values, text):
    message = keypoints_message(camera)
    setattr(message.people[1], field, values)
    with pytest.raises(InputError, match=text):
        keypoints_from_message(message, camera, COCO17)
