"""Every reader against a file of its tool's format: the pixels that OpenCV has for its values."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from voxelpose_core import cli
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats import read_document
from voxelpose_core.geometry.rig import load_rig, save_rig
from voxelpose_core.geometry.rig_check import check_rig

SIZE = (1280, 720)
CENTERS = [(4000, 3000, 2500), (-4000, 3100, 2400), (-3900, -3000, 1500)]
RADTAN4 = [-0.1, 0.02, 0.001, -0.0005]
RADTAN = [*RADTAN4, 0.003]
RATIONAL = [0.31, -0.07, 0.0004, -0.0003, 0.002, 0.42, -0.05, 0.01]
FISHEYE = [-0.021, 0.012, -0.009, 0.0021]


@dataclasses.dataclass
class Source:
    """A camera as tools know it: x = R X + t, t in mm."""

    name: str
    K: np.ndarray
    distortion: list
    R: np.ndarray
    t: np.ndarray
    fisheye: bool = False

    @property
    def rvec(self):
        return cv2.Rodrigues(self.R)[0].ravel()

    def opencv_pixels(self, points):
        arguments = (self.rvec, self.t, self.K, np.array(self.distortion))
        if self.fisheye:
            return cv2.fisheye.projectPoints(points[:, None], *arguments)[0][:, 0]
        return cv2.projectPoints(points, *arguments)[0][:, 0]


def sources(*lenses):
    """Three cameras in the corners of a room, z up; lenses are lists of coefficients."""
    result = []
    for index, center in enumerate(map(np.array, CENTERS)):
        distortion, fisheye = lenses[index % len(lenses)]
        forward = np.subtract([200.0, 100, 900], center)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        focal = 600.0 if fisheye else 900.0
        K = np.array([[focal, 0, 643.5], [0, focal + 2, 355.75], [0, 0, 1]])
        result.append(Source(f"cam{index}", K, distortion, R, -R @ center, fisheye))
    return result


def in_the_frame_of_the_first(cameras):
    """The same rig in the world that tools without a floor write: the optical frame of cam0."""
    first = cameras[0]
    return [dataclasses.replace(c, R=c.R @ first.R.T, t=c.t - c.R @ first.R.T @ first.t) for c in cameras]


def toml_table(title, entry):
    def value(v):
        if isinstance(v, bool):
            return str(v).lower()
        return json.dumps(np.asarray(v).tolist() if not isinstance(v, str) else v)

    return "\n".join([f"[{title}]", *(f"{k} = {value(v)}" for k, v in entry.items()), ""])


# --- Writers: one a format ------------------------------------------------------------------------


def write_kalibr(cameras, folder):
    document, previous = {}, np.eye(4)
    for index, camera in enumerate(cameras):
        pose = np.eye(4)
        pose[:3] = np.column_stack([camera.R, camera.t / 1000])
        entry = {
            "cam_overlaps": [],
            "camera_model": "pinhole",
            "distortion_coeffs": camera.distortion,
            "distortion_model": "equidistant" if camera.fisheye else "radtan",
            "intrinsics": [float(camera.K[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2))],
            "resolution": list(SIZE),
            "rostopic": f"/cam{index}/image_raw",
        }
        if index:
            entry["T_cn_cnm1"] = (pose @ np.linalg.inv(previous)).tolist()
        document[f"cam{index}"], previous = entry, pose
    path = folder / "camchain.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def multical_document(cameras, unit=1000):
    return {
        "cameras": {
            c.name: {
                "model": "standard",
                "image_size": list(SIZE),
                "K": c.K.tolist(),
                "dist": [c.distortion],
            }
            for c in cameras
        },
        "camera_poses": {c.name: {"R": c.R.tolist(), "T": (c.t / unit).tolist()} for c in cameras},
        "image_sets": {"rgb": []},
    }


def write_multical(cameras, folder):
    path = folder / "calibration.json"
    path.write_text(json.dumps(multical_document(cameras)))
    return path


def write_multical_with_master(cameras, folder):
    document = multical_document(cameras)
    poses = document["camera_poses"]
    for camera in cameras[1:]:
        poses[f"{camera.name}_to_cam0"] = poses.pop(camera.name)
    path = folder / "calibration.json"
    path.write_text(json.dumps(document))
    return path


def write_caliscope(cameras, folder, vector=True):
    tables = []
    for index, camera in enumerate(cameras):
        entry = {
            "cam_id": index,
            "rotation_count": 0,
            "error": 0.4,
            "ignore": False,
            "size": SIZE,
            "matrix": camera.K,
            "distortions": camera.distortion,
            "translation": camera.t / 1000,
            "rotation": camera.rvec if vector else camera.R,
            "fisheye": camera.fisheye,
        }
        tables.append(toml_table(f"cameras.{index}", entry))
    unposed = {"cam_id": 7, "ignore": False, "size": SIZE, "matrix": "null", "distortions": "null"}
    tables.append(toml_table("cameras.7", unposed))
    path = folder / "camera_array.toml"
    path.write_text("\n".join(tables))
    return path


def write_caliscope_with_matrices(cameras, folder):
    return write_caliscope(cameras, folder, vector=False)


def anipose_entry(camera, unit):
    return {
        "name": camera.name,
        "size": SIZE,
        "matrix": camera.K,
        "distortions": camera.distortion,
        "rotation": camera.rvec,
        "translation": camera.t / unit,
    }


def write_aniposelib(cameras, folder):
    tables = [toml_table(f"cam_{i}", anipose_entry(c, 1)) for i, c in enumerate(cameras)]
    path = folder / "calibration.toml"
    path.write_text("\n".join([*tables, toml_table("metadata", {"adjusted": False, "error": 0.3})]))
    return path


def write_freemocap(cameras, folder):
    tables = []
    for index, camera in enumerate(cameras):
        placed = {
            "world_orientation": camera.R.T,
            "world_position": -camera.R.T @ camera.t,
        }
        tables.append(toml_table(f"cam_{index}", anipose_entry(camera, 1) | placed))
    metadata = {"charuco_square_size": 51.0, "date_time_calibrated": "2026-02-06T15:02:56"}
    path = folder / "camera_calibration.toml"
    path.write_text("\n".join([*tables, toml_table("metadata", metadata)]))
    return path


def write_pose2sim(cameras, folder):
    tables = []
    for camera in cameras:
        entry = anipose_entry(camera, 1000) | {"size": [1280.0, 720.0], "fisheye": camera.fisheye}
        tables.append(toml_table(camera.name, entry))
    path = folder / "Calib_scene.toml"
    path.write_text("\n".join([*tables, toml_table("metadata", {"adjusted": False, "error": 0.0})]))
    return path


def storage(path, values):
    """A file by OpenCV's own writer."""
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for key, value in values.items():
        if isinstance(value, list):
            file.startWriteStruct(key, cv2.FileNode_SEQ)
            for item in value:
                file.write("", item)
            file.endWriteStruct()
        else:
            file.write(key, value)
    file.release()
    return path


def easymocap_values(cameras):
    names = {"names": [c.name for c in cameras]}
    intri, extri = dict(names), dict(names)
    for c in cameras:
        intri |= {f"K_{c.name}": c.K, f"dist_{c.name}": np.array([c.distortion])}
        extri |= {f"R_{c.name}": c.rvec[:, None], f"Rot_{c.name}": c.R}
        extri |= {f"T_{c.name}": c.t[:, None] / 1000}
    return intri, extri


def write_easymocap(cameras, folder):
    intri, extri = easymocap_values(cameras)
    storage(folder / "intri.yml", intri)
    storage(folder / "extri.yml", extri)
    return folder


def write_easymocap_in_one_file(cameras, folder):
    intri, extri = easymocap_values(cameras)
    values = {k: v for k, v in (intri | extri).items() if not k.startswith("Rot_")}
    for camera in cameras:
        values |= {f"W_{camera.name}": SIZE[0], f"H_{camera.name}": SIZE[1]}
    return storage(folder / "cameras.yml", values)


def write_opencv_multiview(cameras, folder):
    values = {
        "Rs": np.array([c.R for c in cameras]),
        "Ts": np.array([c.t[:, None] / 1000 for c in cameras]),
        "Ks": np.array([c.K for c in cameras]),
        "distortions": np.concatenate([c.distortion for c in cameras]),
        "models": np.array([int(c.fisheye) for c in cameras]),
        "image_sizes": np.array([SIZE] * len(cameras)),
        "cam_ids": ",".join(c.name for c in cameras),
    }
    return storage(folder / "multiview.yaml", values)


def ros_model(camera):
    if camera.fisheye:
        return "equidistant"
    return "rational_polynomial" if len(camera.distortion) == 8 else "plumb_bob"


def write_extrinsics(cameras, folder):
    poses = {}
    for camera in cameras:
        poses[camera.name] = {
            "translation": (-camera.R.T @ camera.t / 1000).tolist(),
            "rotation": Rotation.from_matrix(camera.R.T).as_quat().tolist(),
        }
    text = yaml.safe_dump({"frame": "map", "cameras": poses})
    (folder / "extrinsics.yaml").write_text(text)
    return folder


def write_ros(cameras, folder):
    for camera in cameras:
        count = len(camera.distortion)
        info = {
            "image_width": SIZE[0],
            "image_height": SIZE[1],
            "camera_name": camera.name,
            "camera_matrix": {"rows": 3, "cols": 3, "data": camera.K.ravel().tolist()},
            "distortion_model": ros_model(camera),
            "distortion_coefficients": {"rows": 1, "cols": count, "data": camera.distortion},
            "rectification_matrix": {"rows": 3, "cols": 3, "data": np.eye(3).ravel().tolist()},
        }
        (folder / f"{camera.name}_info.yaml").write_text(yaml.safe_dump(info))
    return write_extrinsics(cameras, folder)


def write_ros_topic_echo(cameras, folder):
    for camera in cameras:
        info = {
            "header": {"stamp": {"sec": 1, "nanosec": 2}, "frame_id": camera.name},
            "height": SIZE[1],
            "width": SIZE[0],
            "distortion_model": ros_model(camera),
            "d": camera.distortion,
            "k": camera.K.ravel().tolist(),
        }
        (folder / f"{camera.name}.yaml").write_text(yaml.safe_dump(info))
    return write_extrinsics(cameras, folder)


def write_opencv_calibration_sample(cameras, folder):
    for camera in cameras:
        values = {
            "image_width": SIZE[0],
            "image_height": SIZE[1],
            "fisheye_model": int(camera.fisheye),
            "camera_matrix": camera.K,
            "distortion_coefficients": np.array(camera.distortion)[:, None],
        }
        storage(folder / f"{camera.name}.yml", values)
    return write_extrinsics(cameras, folder)


PINHOLE4, PINHOLE, WIDE = (RADTAN4, False), (RADTAN, False), (RATIONAL, False)
EQUIDISTANT = (FISHEYE, True)

# writer, lenses, words of the source, whether the world is the frame of the first camera
FORMATS = {
    "kalibr": (write_kalibr, [PINHOLE4, EQUIDISTANT], "Kalibr camchain in m", True),
    "multical": (write_multical, [PINHOLE, WIDE], "multical JSON in m by", False),
    "multical master": (write_multical_with_master, [PINHOLE], "multical JSON in m by", True),
    "caliscope": (write_caliscope, [PINHOLE, EQUIDISTANT], "caliscope TOML in m", False),
    "caliscope, old": (write_caliscope_with_matrices, [PINHOLE], "caliscope TOML in m", False),
    "aniposelib": (write_aniposelib, [PINHOLE], "aniposelib or Pose2Sim in mm by", False),
    "FreeMoCap": (write_freemocap, [PINHOLE], "FreeMoCap TOML in mm by", False),
    "Pose2Sim": (write_pose2sim, [PINHOLE4, EQUIDISTANT], "Pose2Sim in m by", False),
    "EasyMocap": (write_easymocap, [PINHOLE], "EasyMocap YAML in m", False),
    "EasyMocap, one": (write_easymocap_in_one_file, [PINHOLE], "EasyMocap YAML in m", False),
    "OpenCV": (write_opencv_multiview, [WIDE, EQUIDISTANT], "OpenCV multi-camera", True),
    "OpenCV sample": (write_opencv_calibration_sample, [PINHOLE, EQUIDISTANT], "folder", False),
    "ROS": (write_ros, [PINHOLE, WIDE, EQUIDISTANT], "ROS camera_info YAML", False),
    "ROS echo": (write_ros_topic_echo, [PINHOLE, WIDE], "ROS camera_info YAML", False),
}


@pytest.fixture(params=FORMATS)
def calibration(request, tmp_path):
    """(cameras, path, words) of one format; the image size is given where the file lacks it."""
    write, lenses, words, first_is_world = FORMATS[request.param]
    cameras = sources(*lenses)
    if first_is_world:
        cameras = in_the_frame_of_the_first(cameras)
    return cameras, write(cameras, tmp_path), words, request.param


def given_size(name):
    return SIZE if name == "EasyMocap" else None


def test_reader_projects_as_opencv_does(calibration, tmp_path_factory):
    cameras, path, words, name = calibration
    rig = load_rig(path, given_size(name))
    assert words in rig.source
    assert ("fisheye" in rig.source) == any(c.fisheye for c in cameras)
    if name.startswith("caliscope"):
        assert rig.names == ("0", "1", "2")
    else:
        assert rig.names == tuple(c.name for c in cameras)
    room = np.random.default_rng(0).uniform([-1500, -1500, 0], [1500, 1500, 2000], (300, 3))
    seen = 0
    copy = tmp_path_factory.mktemp("converted") / "rig.yaml"
    save_rig(rig, copy)
    truth = sources(*FORMATS[name][1])
    for camera, again, source, placed in zip(
        rig.cameras, load_rig(copy).cameras, cameras, truth, strict=True
    ):
        # The same places of the room, in whichever world the file has.
        points = (room @ placed.R.T + placed.t - source.t) @ source.R
        visible = camera.sees(points)
        seen += visible.sum()
        expected = source.opencv_pixels(points)[visible]
        for read in (camera, again):
            assert read.image_size == SIZE
            assert np.abs(read.project(points)[0][visible] - expected).max() < 0.01
            rays = read.undistort(expected)
            local = read.to_camera(points)[visible]
            assert np.abs(rays - local[:, :2] / local[:, 2:]).max() < 1e-4
    assert seen > 300


def test_rig_commands_say_what_was_taken(calibration, capsys, tmp_path_factory):
    cameras, path, words, name = calibration
    out = tmp_path_factory.mktemp("out") / "rig.yaml"
    arguments = ["--image-size", "1280x720"] if name == "EasyMocap" else []
    assert cli.main(["rig", "convert", str(path), str(out), *arguments]) == 0
    assert words in capsys.readouterr().out
    suspicious = cli.main(["rig", "check", str(out)])
    answer = capsys.readouterr().out
    assert suspicious == (1 if FORMATS[name][3] else 0), answer


def test_ros_folder_gives_the_frame(tmp_path):
    assert load_rig(write_ros(sources(PINHOLE), tmp_path)).frame == "map"


def test_cameras_without_a_pose_are_left_out_and_named(tmp_path, capsys):
    path = write_caliscope(sources(PINHOLE), tmp_path)
    rig = load_rig(path)
    assert len(rig) == 3 and rig.notes == ("camera '7' left out: no lens values",)
    assert rig.select(["0", "1"]).notes == rig.notes
    assert cli.main(["rig", "convert", str(path), str(tmp_path / "rig.yaml")]) == 0
    assert capsys.readouterr().err == "warning: camera '7' left out: no lens values\n"
    assert load_rig(tmp_path / "rig.yaml").notes == ()


@pytest.mark.parametrize("count, turns", [(0, None), (1, 1), (2, 2), (3, 3), (-1, 3), (4, None)])
def test_rotation_count_of_caliscope_says_how_images_are_turned(tmp_path, count, turns):
    path = write_caliscope(sources(PINHOLE), tmp_path)
    path.write_text(path.read_text().replace("rotation_count = 0", f"rotation_count = {count}", 1))
    assert [camera.quarter_turns for camera in load_rig(path).cameras] == [turns, None, None]


def test_a_rotation_count_that_is_no_quarter_turn_is_refused(tmp_path):
    path = write_caliscope(sources(PINHOLE), tmp_path)
    path.write_text(path.read_text().replace("rotation_count = 0", "rotation_count = 0.5", 1))
    with pytest.raises(InputError, match="camera '0': rotation_count is 0.5, expected whole quarter"):
        load_rig(path)


def test_unit_that_the_user_gives_wins(tmp_path):
    cameras = sources(PINHOLE)
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(multical_document(cameras, unit=10)))
    assert any("centimetres" in line for line in check_rig(load_rig(path)))
    rig = load_rig(path, unit="cm")
    assert check_rig(rig) == [] and "in cm, as given" in rig.source
    np.testing.assert_allclose(rig.cameras[0].C, CENTERS[0])
    save_rig(rig, tmp_path / "rig.yaml")
    with pytest.raises(InputError, match="unit is 'mm', but 'm' was given"):
        load_rig(tmp_path / "rig.yaml", unit="m")


# --- Faults ---------------------------------------------------------------------------------------


def edited(path, edit):
    """The YAML file with `edit` applied to its object."""
    document = yaml.safe_load(path.read_text())
    edit(document)
    path.write_text(yaml.safe_dump(document))
    return path


def cam1(**values):
    return lambda document: document["cam1"].update(values)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda d: d["cam1"].pop("T_cn_cnm1"),
            "has 1 camera.* 'cam1', 'cam2' left out: no T_cn_cnm1 of 'cam1', so no pose",
        ),
        (cam1(T_cn_cnm1=[[1, 0], [0, 1]]), "'cam1': T_cn_cnm1 is .*expected 4x4 numbers"),
        (cam1(camera_model="omni"), "'cam1': camera_model is 'omni', expected pinhole"),
        (cam1(distortion_model="fov"), "'cam1': distortion_model is 'fov', expected radtan"),
        (cam1(distortion_coeffs=[1, 2]), "'cam1': distortion has 2 coefficients"),
        (cam1(intrinsics=[1, 2, 3]), "'cam1': intrinsics is .*expected 4 numbers"),
        (lambda d: d.update(cam1=3), "'cam1': is a int, expected keys and values"),
    ],
)
def test_kalibr_faults_are_named(tmp_path, edit, words):
    path = edited(write_kalibr(sources(PINHOLE4), tmp_path), edit)
    with pytest.raises(InputError, match=words) as error:
        load_rig(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "edit", "words"),
    [
        (
            "extrinsics",
            lambda d: [d["cameras"].pop(name) for name in ("cam1", "cam2")],
            "has 1 camera.* 'cam1_info', 'cam2_info' left out: no pose in extrinsics.yaml",
        ),
        ("extrinsics", lambda d: d.pop("cameras"), "extrinsics.yaml: key 'cameras' is missing"),
        (
            "extrinsics",
            lambda d: d["cameras"]["cam1"].update(rotation=[0, 0, 0, 2]),
            "'cam1': rotation is no unit quaternion",
        ),
        ("cam1_info", lambda d: d.update(distortion_model="fov"), "'cam1': distortion model is"),
        ("cam1_info", lambda d: d.pop("image_width"), "'cam1': key 'image_width' is missing"),
    ],
)
def test_ros_faults_are_named(tmp_path, file, edit, words):
    folder = write_ros(sources(PINHOLE), tmp_path)
    edited(folder / f"{file}.yaml", edit)
    with pytest.raises(InputError, match=words) as error:
        load_rig(folder)
    assert "\n" not in str(error.value)


def test_one_camera_info_is_not_a_rig(tmp_path):
    write_ros(sources(PINHOLE), tmp_path)
    with pytest.raises(InputError, match="camera_info of one camera, expected the folder"):
        load_rig(tmp_path / "cam0_info.yaml")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda t: t.replace("[cam_1]", "[cam_1"), "cannot be parsed"),
        (lambda t: t.replace("rotation = [", "rotation = [9.0, 9.0, ", 1), "'cam0': rotation is"),
        (lambda t: t.replace("matrix = [[9", 'matrix = [["x"], [9', 1), "'cam0': matrix is"),
        (lambda t: t.replace("0.003]", "0.003, 0.1, 0.1]", 1), "'cam0': distortion has 7 coef"),
        (
            lambda t: t.replace("0.003]", f"0.003, {'0.1, ' * 7}]", 1),
            "'cam0': distortions has thin prism",
        ),
    ],
)
def test_toml_faults_are_named(tmp_path, damage, words):
    path = write_aniposelib(sources(PINHOLE), tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=words) as error:
        load_rig(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_multical_and_easymocap_faults_are_named(tmp_path):
    document = multical_document(sources(PINHOLE))
    del document["camera_poses"]["cam1"]
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="'cam1': has no pose in camera_poses"):
        load_rig(tmp_path / "a.json", cameras=["cam0", "cam1"])
    with pytest.raises(InputError, match="'cam0': the image size is not in this format"):
        load_rig(write_easymocap(sources(PINHOLE), tmp_path))
    intri, _ = easymocap_values(sources(PINHOLE))
    path = storage(tmp_path / "only.yml", intri)
    with pytest.raises(InputError, match="'cam2' left out: no rotation R or translation T"):
        load_rig(path, SIZE)
    with pytest.raises(InputError, match="'cam0': key 'R_cam0' is missing"):
        load_rig(path, SIZE, cameras=["cam0", "cam1"])


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("cam_ids", "cam0,cam1", "cam_ids has 2 names, expected 3"),
        ("distortions", {"data": [0.1] * 17}, "distortions has 17 numbers, which 3 cameras cannot"),
        ("Rs", {"data": [1] * 10}, "Rs has 10 numbers, expected rotations of 3 cameras"),
        ("Ts", {"data": [1] * 10}, "Ts is .*expected 3x3 numbers"),
        ("image_sizes", {"data": [1280.5, 720] * 3}, "'cam0': image_sizes is"),
    ],
)
def test_opencv_multiview_faults_are_named(tmp_path, key, value, words):
    path = write_opencv_multiview(sources(WIDE), tmp_path)
    document = read_document(path)
    path.write_text(yaml.safe_dump(document | {key: value}))
    with pytest.raises(InputError, match=words):
        load_rig(path)


@pytest.mark.parametrize(
    "text",
    [
        "cam0: {camera_model: pinhole}\ncam1: 3",
        "cam0: {camera_model: [1]}\ncam1: {distortion_model: [1]}",
        '{"cameras": {"a": {"K": 1, "dist": 2}}}',
        '{"cameras": {"a": {"K": 1, "dist": 2}}, "camera_poses": {"a": 3}}',
        '{"cameras": {"a": {"K": 1, "dist": null}}, "camera_poses": {"a": {"R": [], "T": []}}}',
        "[a]\nmatrix = 1\ndistortions = []\nsize = []\nrotation = []\ntranslation = []",
        "names: [1]\nK_1: 3\n",
        "names: 3\nK_1: 3\nextri: 1\nintri: 2",
        "Ks: []\ndistortions: []\nRs: []\nTs: []",
        "Ks: {data: [a]}\ndistortions: []\nRs: []\nTs: []",
        "a: {camera_matrix: 1}",
        "a: {camera_matrix: 1}\nextrinsics: {cameras: {a: 1}}",
        "a: {camera_matrix: 1, distortion_model: [1]}\nextrinsics: {cameras: {a: {}}}",
        "a: {camera_matrix: 1, camera_name: [1]}\nextrinsics: {cameras: {b: {}}}",
        "%YAML:1.0\n---\nK: !!opencv-matrix [1, 2]\n",
    ],
)
def test_broken_files_end_with_one_line(tmp_path, text):
    path = tmp_path / "broken.txt"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_rig(path)
    assert "\n" not in str(error.value)
