"""Calibrations as users bring them: partial, of unusual lenses, from drivers with habits.

Every case is a small file written here; the files in shared/cases are read where they are there.
"""

import copy
import json

import cv2
import numpy as np
import pytest
import yaml
from test_calibration_formats import (
    EQUIDISTANT,
    FISHEYE,
    PINHOLE,
    PINHOLE4,
    RADTAN4,
    RATIONAL,
    SIZE,
    WIDE,
    easymocap_values,
    in_the_frame_of_the_first,
    multical_document,
    sources,
    storage,
    write_aniposelib,
    write_caliscope,
    write_easymocap_in_one_file,
    write_kalibr,
    write_ros,
    write_ros_topic_echo,
)

from voxelpose_core import cli
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import load_rig, save_rig

ROOM = np.random.default_rng(3).uniform([-1500, -1500, 0], [1500, 1500, 2000], (300, 3))


def assert_sees_like(camera, source, points=ROOM, pixels=0.01):
    """The camera projects as OpenCV does with the values of the source."""
    visible = camera.sees(points)
    assert visible.sum() > 20
    expected = source.opencv_pixels(points)[visible]
    assert np.abs(camera.project(points)[0][visible] - expected).max() < pixels


def refused(path, words, **options):
    """The path is refused in one line with these words."""
    with pytest.raises(InputError, match=words) as error:
        load_rig(path, **options)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500 + len(str(path))


def edit_yaml(path, edit):
    document = yaml.safe_load(path.read_text())
    edit(document)
    path.write_text(yaml.safe_dump(document))


# --- Lens models ----------------------------------------------------------------------------------


def write_json(folder, document):
    path = folder / "calibration.json"
    path.write_text(json.dumps(document))
    return path


def test_four_coefficients_of_multical_are_a_fisheye(tmp_path):
    cameras = sources(EQUIDISTANT, PINHOLE, EQUIDISTANT)
    document = multical_document(cameras)
    # cv2.fisheye.calibrate gives a column, cv2.calibrateCamera a row.
    document["cameras"]["cam0"]["dist"] = [[value] for value in FISHEYE]
    rig = load_rig(write_json(tmp_path, document))
    assert [camera.fisheye for camera in rig.cameras] == [True, False, True]
    for camera, source in zip(rig.cameras, cameras, strict=True):
        assert_sees_like(camera, source)
    (note,) = rig.notes
    assert "cameras 'cam0', 'cam2'" in note and "fisheye" in note


@pytest.mark.parametrize(
    ("model", "dist", "fisheye"),
    [
        ("fix_k3", [*FISHEYE[:2], 0, FISHEYE[3]], True),
        ("standard", [0, 0, 0, 0], True),
        ("rational", RATIONAL, False),
        ("thin_prism", [*RATIONAL, 0, 0, 0, 0], False),
        ("tilted", [*RATIONAL, *[0] * 6], False),
        ("rational", RADTAN4, False),
    ],
)
def test_models_of_multical(tmp_path, model, dist, fisheye):
    document = multical_document(sources(PINHOLE))
    document["cameras"]["cam1"].update(model=model, dist=[dist])
    camera = load_rig(write_json(tmp_path, document)).cameras[1]
    assert camera.fisheye == fisheye
    np.testing.assert_allclose(camera.distortion[: len(dist)], dist[: len(camera.distortion)])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": "omni"}, "'cam1': model is 'omni', expected one of standard"),
        ({"dist": [[*RATIONAL, 0.01, 0, 0, 0]]}, r"'cam1': dist has thin prism .*\(12 coef.*ratio"),
        ({"dist": [[*RATIONAL, 0, 0, 0, 0, 0.01, 0]]}, "thin prism or tilt terms .14 coefficients"),
        ({"model": "fix_k1", "dist": [RADTAN4 + [1]]}, "has 5 coefficients, expected 4 of a fish"),
    ],
)
def test_lenses_that_multical_may_write_and_we_lack(tmp_path, values, words):
    document = multical_document(sources(PINHOLE))
    document["cameras"]["cam1"].update(values)
    path = write_json(tmp_path, document)
    refused(path, words)
    assert load_rig(path, cameras=["cam2", "cam0"]).names == ("cam2", "cam0")


def test_poses_of_multical_that_lead_from_camera_to_camera(tmp_path):
    cameras = in_the_frame_of_the_first(sources(PINHOLE))
    document = multical_document(cameras)
    first, second, third = cameras
    R = third.R @ second.R.T
    T = third.t - R @ second.t
    poses = document["camera_poses"]
    poses["cam1_to_cam0"] = poses.pop("cam1")
    del poses["cam2"]
    poses["cam2_to_cam1"] = {"R": R.tolist(), "T": (T / 1000).tolist()}
    rig = load_rig(write_json(tmp_path, document))
    for camera, source in zip(rig.cameras, cameras, strict=True):
        np.testing.assert_allclose(camera.R, source.R, atol=1e-9)
        np.testing.assert_allclose(camera.t, source.t, atol=1e-6)
    poses["cam1_to_cam2"] = poses.pop("cam1_to_cam0")
    refused(write_json(tmp_path, document), "has 1 camera.*'cam1', 'cam2' left out: no pose")


@pytest.mark.parametrize("model", ["omni", "ds", "eucm"])
def test_kalibrs_other_camera_models_are_refused(tmp_path, model):
    path = write_kalibr(sources(PINHOLE4), tmp_path)
    edit_yaml(path, lambda d: d["cam1"].update(camera_model=model))
    refused(path, f"'cam1': camera_model is '{model}', expected pinhole: .*pinhole-equi")
    assert load_rig(path, cameras=["cam0", "cam2"]).names == ("cam0", "cam2")


def test_a_kalibr_camera_says_its_distortion_model(tmp_path):
    path = write_kalibr(sources(PINHOLE4), tmp_path)
    edit_yaml(path, lambda d: d["cam1"].pop("distortion_model"))
    refused(path, "'cam1': key 'distortion_model' is missing")


def test_four_coefficients_of_easymocap_are_told(tmp_path):
    cameras = sources(PINHOLE, PINHOLE4)
    rig = load_rig(write_easymocap_in_one_file(cameras, tmp_path))
    assert len(rig.notes) == 1
    assert rig.notes[0].startswith("camera 'cam1': four distortion coefficients, read as k1")
    assert_sees_like(rig.cameras[1], cameras[1])


def test_toml_without_the_key_fisheye(tmp_path):
    """aniposelib writes the key of fisheyes only; four coefficients without it are told."""
    path = write_aniposelib(sources(PINHOLE4), tmp_path)
    rig = load_rig(path)
    assert not any(camera.fisheye for camera in rig.cameras)
    assert len(rig.notes) == 1 and "no key 'fisheye'" in rig.notes[0]
    assert load_rig(write_aniposelib(sources(PINHOLE), tmp_path)).notes == ()
    path = write_caliscope(sources(EQUIDISTANT), tmp_path)
    path.write_text(path.read_text().replace("fisheye = true", 'fisheye = "yes"', 1))
    refused(path, "'0': fisheye is 'yes', expected true or false")


# --- MC-Calib -------------------------------------------------------------------------------------


def mc_calib_values(cameras):
    values = {"nb_camera": len(cameras)}
    for index, camera in enumerate(cameras):
        pose = np.eye(4)
        pose[:3] = np.column_stack([camera.R.T, -camera.R.T @ camera.t / 1000])
        values[f"camera_{index}"] = {
            "camera_matrix": camera.K,
            "distortion_vector": np.array([camera.distortion]),
            "distortion_type": int(camera.fisheye),
            "camera_group": 0,
            "img_width": SIZE[0],
            "img_height": SIZE[1],
            "camera_pose_matrix": pose,
        }
    return values


def write_mc_calib(values, path):
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for key, value in values.items():
        if not isinstance(value, dict):
            file.write(key, value)
            continue
        file.startWriteStruct(key, cv2.FileNode_MAP)
        for inner, number in value.items():
            file.write(inner, number)
        file.endWriteStruct()
    file.release()
    return path


def test_mc_calib(tmp_path):
    cameras = in_the_frame_of_the_first(sources(PINHOLE, EQUIDISTANT))
    path = write_mc_calib(mc_calib_values(cameras), tmp_path / "calibrated_cameras_data.yml")
    rig = load_rig(path)
    assert "MC-Calib YAML in m by" in rig.source and rig.notes == ()
    assert rig.names == ("camera_0", "camera_1", "camera_2")
    truth = sources(PINHOLE, EQUIDISTANT)[0]
    points = ROOM @ truth.R.T + truth.t
    for camera, source in zip(rig.cameras, cameras, strict=True):
        assert camera.fisheye == source.fisheye
        assert_sees_like(camera, source, points)


def test_mc_calib_faults_are_named(tmp_path):
    path = tmp_path / "calibrated.yml"
    values = mc_calib_values(sources(PINHOLE))

    def changed(**inner):
        other = copy.deepcopy(values)
        other["camera_1"].update(inner)
        return write_mc_calib(other, path)

    refused(changed(distortion_type=7), "'camera_1': distortion_type is 7, expected 0 .Brown. or 1")
    refused(changed(camera_matrix=np.eye(2)), "'camera_1': camera_matrix is .*expected 3x3")
    refused(changed(camera_pose_matrix=np.zeros((4, 4))), "'camera_1': R is not a rotation")
    (note,) = load_rig(changed(camera_group=1)).notes
    assert "'camera_1' left out: in another camera_group" in note
    (note,) = load_rig(write_mc_calib(values | {"nb_camera": 5}, path)).notes
    assert "3 of 5 cameras" in note


def test_a_unit_that_may_be_another_is_told(tmp_path):
    """A stereo head 200 mm wide in centimetres would be a rig of 20 m in metres."""
    values = mc_calib_values(sources(PINHOLE))
    for index in range(3):
        values[f"camera_{index}"]["camera_pose_matrix"][:3, 3] = [10.0 * index, 0, 1.5]
    path = write_mc_calib(values, tmp_path / "cameras.yml")
    (note,) = load_rig(path).notes
    assert "up to 20 apart, which is read as m: give --unit" in note
    rig = load_rig(path, unit="cm")
    assert rig.notes == ()
    np.testing.assert_allclose(rig.cameras[2].C, [200, 0, 15])


# --- Cameras without a calibration ------------------------------------------------------------------


def test_an_unposed_camera_is_left_out_unless_it_is_asked_for(tmp_path, capsys):
    document = multical_document(sources(PINHOLE))
    del document["camera_poses"]["cam1"]
    path = write_json(tmp_path, document)
    rig = load_rig(path)
    assert rig.names == ("cam0", "cam2")
    assert rig.notes == ("camera 'cam1' left out: no pose in camera_poses",)
    assert load_rig(path, cameras=["cam2", "cam0"]).notes == ()
    refused(path, "'cam1': has no pose in camera_poses", cameras=["cam0", "cam1"])
    refused(path, "camera 'x' is not in the rig, expected one of cam0, cam1, cam2", cameras=["x"])
    assert cli.main(["rig", "check", str(path)]) == 0
    assert capsys.readouterr().err == f"warning: {rig.notes[0]}\n"


def test_a_camera_that_the_tool_did_not_calibrate_is_named(tmp_path):
    """caliscope leaves keys without a value away."""
    path = write_caliscope(sources(PINHOLE), tmp_path)
    path.write_text(path.read_text() + f"\n[cameras.9]\ncam_id = 9\nsize = {list(SIZE)}\n")
    assert load_rig(path).notes == ("cameras '7', '9' left out: no lens values",)
    refused(path, "'9': key 'rotation' is missing", cameras=["0", "9"])


def test_cameras_that_one_of_easymocaps_files_lacks(tmp_path):
    cameras = sources(PINHOLE)
    intri, _ = easymocap_values(cameras)
    _, extri = easymocap_values(cameras[:2])
    storage(tmp_path / "intri.yml", intri)
    storage(tmp_path / "extri.yml", extri | {"names": ["cam0", "cam1", "extra"]})
    rig = load_rig(tmp_path, SIZE)
    assert rig.names == ("cam0", "cam1")
    assert rig.notes == (
        "camera 'cam2' left out: no rotation R or translation T",
        "camera 'extra' left out: no K",
    )


def test_our_own_file_takes_longer_models_that_end_in_zeros(tmp_path):
    save_rig(load_rig(write_caliscope(sources(PINHOLE), tmp_path)), tmp_path / "rig.yaml")
    edit_yaml(tmp_path / "rig.yaml", lambda d: d["cameras"][1]["distortion"].extend([0.0] * 9))
    assert len(load_rig(tmp_path / "rig.yaml").cameras[1].distortion) == 5
    edit_yaml(tmp_path / "rig.yaml", lambda d: d["cameras"][1]["distortion"].__setitem__(9, 0.1))
    refused(tmp_path / "rig.yaml", "camera '1': distortion has thin prism or tilt terms")


def test_the_command_line_reads_only_the_cameras_that_it_names(tmp_path, capsys):
    path = write_kalibr(sources(PINHOLE4), tmp_path)
    edit_yaml(path, lambda d: d["cam1"].update(camera_model="omni"))
    out = str(tmp_path / "rig.yaml")
    assert cli.main(["rig", "convert", str(path), out]) == 2
    assert "'cam1': camera_model is 'omni'" in capsys.readouterr().err
    assert cli.main(["rig", "convert", str(path), out, "--cameras", "cam2", "cam0"]) == 0
    assert load_rig(out).names == ("cam2", "cam0")


QUALISYS = """\
<calibration calibrated="true" type="regular"><cameras>{cameras}</cameras></calibration>
"""
QUALISYS_CAMERA = """
<camera active="1" model="{model}" serial="{name}" {more}>
  <fov_video left="0" top="0" right="1279" bottom="719"/>
  <transform x="{x}" y="{y}" z="{z}" {rotation}/>
  <intrinsic focalLengthU="{f}" focalLengthV="{f}" centerPointU="40960" centerPointV="23040"
    skew="0" radialDistortion1="0" radialDistortion2="0" radialDistortion3="0"
    tangentalDistortion1="0" tangentalDistortion2="0"/>
</camera>"""


def qualisys_camera(index, model="Miqus Video", focal=900 * 64, more=""):
    source = sources(PINHOLE)[index]
    x, y, z = -source.R.T @ source.t
    flipped = np.diag([1.0, -1.0, -1.0]) @ source.R
    rotation = " ".join(f'r{i + 1}{j + 1}="{flipped[i, j]}"' for i in range(3) for j in range(3))
    return QUALISYS_CAMERA.format(
        model=model, name=f"cam{index}", more=more, x=x, y=y, z=z, rotation=rotation, f=focal
    )


@pytest.mark.parametrize(
    ("third", "reason"),
    [
        ({"model": "Oqus 300+"}, "a marker camera (Oqus 300+) beside video cameras"),
        ({"model": "Oqus 300+", "focal": "0.000000"}, "not calibrated, no lens values"),
        ({"more": 'calibrated="false"'}, "not calibrated, no lens values"),
    ],
)
def test_marker_cameras_of_qualisys(tmp_path, third, reason):
    path = tmp_path / "session.qca.txt"
    entries = [qualisys_camera(0), qualisys_camera(1), qualisys_camera(2, **third)]
    path.write_text(QUALISYS.format(cameras="".join(entries)))
    rig = load_rig(path)
    assert rig.names == ("cam0", "cam1")
    assert rig.notes == (f"camera 'cam2' left out: {reason}",)
    if "focal" in third:
        refused(path, "'cam2': focal lengths are 0, 0", cameras=["cam0", "cam2"])
    else:
        chosen = load_rig(path, cameras=["cam0", "cam2"])
        assert chosen.names == ("cam0", "cam2") and chosen.notes == ()


def test_qualisys_without_video_cameras_is_read_whole(tmp_path):
    path = tmp_path / "session.qca.txt"
    entries = [qualisys_camera(index, "Oqus 300+") for index in range(3)]
    path.write_text(QUALISYS.format(cameras="".join(entries)))
    rig = load_rig(path)
    assert len(rig) == 3 and rig.notes == ()


def test_a_broken_camera_of_our_own_file_stops_no_other(tmp_path):
    save_rig(load_rig(write_caliscope(sources(PINHOLE), tmp_path)), tmp_path / "rig.yaml")
    edit_yaml(tmp_path / "rig.yaml", lambda d: d["cameras"][1].update(K="none"))
    refused(tmp_path / "rig.yaml", "camera '1': K is")
    assert load_rig(tmp_path / "rig.yaml", cameras=["2", "0"]).names == ("2", "0")


def test_the_unit_is_that_of_the_whole_file(tmp_path):
    """Two cameras that stand close do not turn millimetres into metres."""
    cameras = sources(PINHOLE)
    close = copy.deepcopy(cameras[0])
    close.name, close.t = "close", close.t + [50.0, 0, 0]
    document = multical_document([*cameras, close], unit=1)
    rig = load_rig(write_json(tmp_path, document), cameras=["cam0", "close"])
    assert "in mm" in rig.source
    np.testing.assert_allclose(np.linalg.norm(rig.cameras[0].C - rig.cameras[1].C), 50.0)


# --- EasyMocap --------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["01", "02", "08"], ["1", "2", "3"], ["00_01", "00_02", "00_03"]])
def test_easymocap_names_without_quotes(tmp_path, names):
    cameras = sources(PINHOLE)
    for camera, name in zip(cameras, names, strict=True):
        camera.name = name
    path = write_easymocap_in_one_file(cameras, tmp_path)
    path.write_text(path.read_text().replace('"', ""))
    rig = load_rig(path)
    assert rig.names == tuple(names)
    for camera, source in zip(rig.cameras, cameras, strict=True):
        assert_sees_like(camera, source)


def test_easymocaps_other_name_of_distortion(tmp_path):
    cameras = sources(PINHOLE)
    intri, extri = easymocap_values(cameras)
    renamed = {key.replace("dist_", "D_"): value for key, value in (intri | extri).items()}
    rig = load_rig(storage(tmp_path / "cameras.yml", renamed), SIZE)
    for camera, source in zip(rig.cameras, cameras, strict=True):
        assert_sees_like(camera, source)
    del renamed["D_cam1"]
    refused(storage(tmp_path / "lacks.yml", renamed), "key 'dist_cam1' is missing", image_size=SIZE)


# --- ROS ------------------------------------------------------------------------------------------


def test_what_ros2_topic_echo_prints(tmp_path):
    """With the end of the message, or several messages when nobody said --once."""
    cameras = sources(PINHOLE, WIDE)
    folder = write_ros_topic_echo(cameras, tmp_path)
    text = (folder / "cam0.yaml").read_text()
    (folder / "cam0.yaml").write_text(text + "---\n")
    text = (folder / "cam1.yaml").read_text()
    (folder / "cam1.yaml").write_text(text + "---\n" + text + "---\n")
    rig = load_rig(folder)
    for camera, source in zip(rig.cameras, cameras, strict=True):
        assert_sees_like(camera, source)


def test_several_yaml_documents_are_no_rig(tmp_path):
    save_rig(load_rig(write_caliscope(sources(PINHOLE), tmp_path)), tmp_path / "rig.yaml")
    text = (tmp_path / "rig.yaml").read_text()
    (tmp_path / "rig.yaml").write_text(text + "---\n" + text)
    refused(tmp_path / "rig.yaml", "has 2 YAML documents, expected one")
    (tmp_path / "rig.yaml").write_text(text + "---\n")
    assert len(load_rig(tmp_path / "rig.yaml")) == 3


def test_upper_case_keys_of_ros_1(tmp_path):
    cameras = sources(PINHOLE)
    folder = write_ros_topic_echo(cameras, tmp_path)
    edit_yaml(folder / "cam0.yaml", lambda d: d.update(K=d.pop("k"), D=d.pop("d")))
    assert_sees_like(load_rig(folder).cameras[0], cameras[0])


def test_additional_files_in_the_folder(tmp_path):
    cameras = sources(PINHOLE)
    folder = write_ros(cameras, tmp_path)
    # Drivers' examples share a camera name.
    text = (folder / "cam0_info.yaml").read_text()
    (folder / "webcam.yaml").write_text(text)
    (folder / "notes.yaml").write_text("a: b: c")
    rig = load_rig(folder)
    assert rig.names == ("cam0", "cam1", "cam2")
    assert rig.notes == ("camera 'webcam' left out: no pose in extrinsics.yaml",)
    edit_yaml(folder / "extrinsics.yaml", lambda d: d["cameras"].update(notes=d["cameras"]["cam0"]))
    refused(folder, "notes.yaml: cannot be parsed")
    assert len(load_rig(folder, cameras=["cam2", "cam0"])) == 2
    edit_yaml(folder / "extrinsics.yaml", lambda d: d["cameras"].update(lidar={}, notes={}))
    (folder / "notes.yaml").unlink()
    assert "'lidar', 'notes' left out: no camera_info file has its name" in load_rig(folder).notes[1]
    assert load_rig(folder, cameras=["cam0", "cam1"]).notes == ()
    refused(folder, "'lidar': no camera_info file is, or is named, lidar", cameras=["lidar", "cam0"])


def test_a_folder_of_broken_files_names_the_first(tmp_path):
    (tmp_path / "intri.yml").write_text("a: b: c")
    refused(tmp_path, "intri.yml: cannot be parsed")


def test_the_name_of_the_file_comes_before_the_camera_name(tmp_path):
    cameras = sources(PINHOLE, WIDE)
    folder = write_ros(cameras, tmp_path)
    for camera in cameras:
        path = folder / f"{camera.name}_info.yaml"
        edit_yaml(path, lambda d: d.update(camera_name="cam0"))
        path.rename(folder / f"{camera.name}.yaml")
    for camera, source in zip(load_rig(folder).cameras, cameras, strict=True):
        assert_sees_like(camera, source)


# --- Files that are made to do harm -------------------------------------------------------------------


def multical_chain(count):
    cameras = {f"c{i}": {"K": 1, "dist": []} for i in range(count)}
    return {"cameras": cameras, "camera_poses": {f"c{i}_to_c{i + 1}": {} for i in range(count)}}


@pytest.mark.parametrize(
    "document",
    [
        multical_chain(5000),
        {"cameras": {"a": {"K": 1, "dist": []}}, "camera_poses": {"_to_" * 100_000: {}}},
        {"cameras": {"a\nb": {"K": 1, "dist": []}}, "camera_poses": {}},
        {"cam0": {"camera_model": "pinhole"}, "cam" + "9" * 5000: 3},
        {"camera_0": {"camera_pose_matrix": 1, "distortion_type": [1]}, "camera_1": 3},
        [{"panel": 0, "node": 0, "name": "n" * 100_000, "K": 1}],
        {"cameras": [{"name": "a\nb", "C": 1}], "format": "voxelpose_rig/1"},
        {"a": {"camera_matrix": 1, "roi": []}, "extrinsics": {"cameras": {"a": {}, "b\nc": 1}}},
    ],
)
def test_harmful_files_end_with_one_line(tmp_path, document):
    refused(write_json(tmp_path, document), "camera")


# --- The shared cases -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "cameras", "note"),
    [
        ("multical-fisheye/calibration.json", 4, "fisheye"),
        ("multical-fisheye/one_pose_missing.json", 3, "'cam3' left out"),
        ("qualisys/mixed.qca.txt", 4, "'12039' left out"),
        ("qualisys/uncalibrated_marker.qca.txt", 4, "'12040' left out"),
        ("mc-calib/calibrated_cameras_data.yml", 2, "19.9 apart"),
        ("caliscope/small_rig.toml", 3, None),
        ("easymocap/one.yml", 2, None),
        ("easymocap/D.yml", 2, None),
        ("easymocap/unquoted.yml", 2, None),
        ("ros-camera-info/basler", 2, None),
        ("ros-camera-info/depthai", 2, None),
        ("ros-camera-info/extra_camera", 2, "'webcam' left out"),
        ("ros-camera-info/t265", 2, "T265"),
        ("ros-camera-info/topic_echo", 2, None),
    ],
)
def test_shared_cases(shared_dir, file, cameras, note):
    path = shared_dir / "cases" / file
    if not path.exists():
        pytest.skip(f"{file} is not in the shared cases")
    rig = load_rig(path, (1920, 1080) if "easymocap" in file else None)
    assert len(rig) == cameras
    if note is None:
        assert rig.notes == ()
    else:
        assert len(rig.notes) == 1 and note in rig.notes[0]
    if file.startswith(("multical-fisheye/cal", "ros-camera-info/t265")):
        assert all(camera.fisheye for camera in rig.cameras)
