"""Rig files, other tools' calibrations, the check of a rig and the proposed space."""

import dataclasses
import json
import logging
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import yaml
from right_rigs import CHANGES, KINDS, Y_DOWN, camera_at, changed, false_alarms, right_rig

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.coverage import propose_space
from voxelpose_core.geometry.rig import Rig, load_rig, save_rig
from voxelpose_core.geometry.rig_check import check_rig, report_findings, rig_findings, rig_remarks
from voxelpose_core.geometry.space import Space

CONFIG = Path(__file__).resolve().parents[1] / "config" / "rigs"
PANOPTIC_VIEWS = ["00_03", "00_06", "00_12", "00_13", "00_23"]


def looking_at(name, center, target=(200.0, 100.0, 900.0), size=(1280, 720), focal=900.0):
    forward = np.subtract(target, center)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    return Camera(
        name,
        size,
        [[focal, 0, size[0] / 2 + 3.5], [0, focal + 2, size[1] / 2 - 4.25], [0, 0, 1]],
        [-0.1, 0.02, 0.001, -0.0005, 0.003],
        np.stack([right, np.cross(forward, right), forward]),
        center,
    )


@pytest.fixture
def rig() -> Rig:
    """Four cameras in the corners of a room."""
    centers = [(4000, 3000, 2500), (-4000, 3100, 2400), (-3900, -3000, 1500), (4100, -3050, 2000)]
    return Rig(tuple(looking_at(f"cam{i}", center) for i, center in enumerate(centers)))


def assert_same_projection(first: Camera, second: Camera, pixels=1e-6):
    points = np.random.default_rng(0).uniform([-1500, -1500, 0], [1500, 1500, 2000], (200, 3))
    points = points[first.sees(points)]
    assert len(points) > 10
    assert np.abs(first.project(points)[0] - second.project(points)[0]).max() < pixels
    assert first.image_size == second.image_size


def voxelpose_json(rig) -> dict:
    return {
        camera.name: {
            "R": camera.R.tolist(),
            "T": camera.C[:, None].tolist(),
            "fx": camera.K[0, 0],
            "fy": camera.K[1, 1],
            "cx": camera.K[0, 2],
            "cy": camera.K[1, 2],
            "k": [[camera.distortion[i]] for i in (0, 1, 4)],
            "p": [[camera.distortion[i]] for i in (2, 3)],
        }
        for camera in rig.cameras
    }


def panoptic_json(rig) -> list:
    entries = []
    for node, camera in enumerate(rig.cameras):
        R = camera.R @ Y_DOWN.T
        entries.append(
            {
                "name": f"00_{node:02d}",
                "type": "hd",
                "resolution": list(camera.image_size),
                "panel": 0,
                "node": node,
                "K": camera.K.tolist(),
                "distCoef": camera.distortion.tolist(),
                "R": R.tolist(),
                "t": (-R @ Y_DOWN @ camera.C / 10)[:, None].tolist(),
            }
        )
    return entries


def qualisys_xml(rig) -> str:
    cameras = []
    for camera in rig.cameras:
        M = np.diag([1.0, -1.0, -1.0]) @ camera.R
        r = " ".join(f'r{i + 1}{j + 1}="{M[i, j]!r}"' for i in range(3) for j in range(3))
        r = r.replace("np.float64(", "").replace(")", "")
        x, y, z = camera.C
        k1, k2, p1, p2, k3 = camera.distortion
        width, height = camera.image_size
        cameras.append(
            f'<camera serial="{camera.name}">'
            f'<fov_video left="0" top="0" right="{width - 1}" bottom="{height - 1}"/>'
            f'<transform {r} x="{x}" y="{y}" z="{z}"/>'
            f'<intrinsic focalLengthU="{camera.K[0, 0] * 64}" focalLengthV="{camera.K[1, 1] * 64}"'
            f' centerPointU="{camera.K[0, 2] * 64}" centerPointV="{camera.K[1, 2] * 64}"'
            f' skew="0" radialDistortion1="{k1}" radialDistortion2="{k2}"'
            f' radialDistortion3="{k3}" tangentalDistortion1="{p1}"'
            f' tangentalDistortion2="{p2}"/></camera>'
        )
    body = "".join(cameras)
    head = "<?xml version='1.0' encoding='ASCII'?>"
    return f"{head}<calibration><cameras>{body}</cameras></calibration>"


# --- Our own file ---------------------------------------------------------------------------


def test_our_yaml_keeps_everything(rig, tmp_path):
    pinhole, rational, fisheye, *others = rig.cameras
    rational = dataclasses.replace(rational, distortion=[0.3, -0.1, 0, 0, 0.01, 0.6, -0.1, 0.02])
    fisheye = dataclasses.replace(fisheye, distortion=[0.01, 0, -0.02, 0.003], fisheye=True)
    cameras = (pinhole, rational, fisheye, *others)
    space = Space((1, 2, 3), (10, 20, 30))
    rig = dataclasses.replace(rig, name="hall", frame="map", cameras=cameras, space=space)
    save_rig(rig, tmp_path / "hall.yaml")
    again = load_rig(tmp_path / "hall.yaml")
    assert (again.name, again.frame, again.names) == ("hall", "map", rig.names)
    assert again.source == "rig YAML (mm)"
    for before, after in zip(rig.cameras, again.cameras, strict=True):
        for field in ("image_size", "K", "fisheye", "distortion", "R", "C"):
            assert np.array_equal(getattr(before, field), getattr(after, field))
    assert again.space.center.tolist() == [1, 2, 3] and again.space.size.tolist() == [10, 20, 30]


def test_our_yaml_in_metres_is_converted(rig, tmp_path):
    rig = rig.with_space(Space((0, 0, 1000), (4000, 4000, 2000)))
    save_rig(rig, tmp_path / "a.yaml")
    document = yaml.safe_load((tmp_path / "a.yaml").read_text())
    document["unit"] = "m"
    for entry in document["cameras"]:
        entry["C"] = [value / 1000 for value in entry["C"]]
    document["space"] = {"center": [0, 0, 1], "size": [4, 4, 2]}
    document["ground"] = -0.75
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(document))
    again = load_rig(tmp_path / "b.yaml")
    assert np.allclose(again.cameras[0].C, rig.cameras[0].C)
    assert again.space.size.tolist() == [4000, 4000, 2000]
    assert again.ground == -750 and again.unit == "m"


def test_time_offsets_are_kept_and_follow_their_cameras(rig, tmp_path):
    assert rig.time_offsets_ms == (0.0,) * len(rig) and not rig.has_time_offsets
    offsets = [0.0, -33.25, *[4.0] * (len(rig) - 2)]
    save_rig(rig.with_time_offsets(offsets), tmp_path / "rig.yaml")
    text = (tmp_path / "rig.yaml").read_text()
    assert text.count("time_offset_ms: ") == len(rig) - 1 and "-33.25" in text
    read = load_rig(tmp_path / "rig.yaml")
    assert read.time_offsets_ms == tuple(offsets) and read.has_time_offsets
    assert read.select(rig.names[1::-1]).time_offsets_ms == (-33.25, 0.0)
    with pytest.raises(
        InputError, match=f"1 time offsets given, expected one for each of the {len(rig)} cam"
    ):
        rig.with_time_offsets([0.0])


def test_ground_is_kept_and_moves_the_space(rig, tmp_path):
    assert rig.ground == 0
    lower = rig.with_ground(-750)
    assert propose_space(lower).low[2] == -750 and propose_space(lower).high[2] == 1250
    boxed = rig.with_space(Space((0, 0, 1000), (4000, 4000, 2000))).with_ground(-750)
    assert boxed.space.low[2] == -750 and boxed.with_ground(-750).space.low[2] == -750
    save_rig(boxed, tmp_path / "rig.yaml")
    again = load_rig(tmp_path / "rig.yaml")
    assert again.ground == -750 and again.space.low[2] == -750
    for bad in (float("nan"), 1e9, "low"):
        with pytest.raises(InputError, match="^ground is "):
            rig.with_ground(bad)
    document = yaml.safe_load((tmp_path / "rig.yaml").read_text()) | {"ground": "low"}
    with pytest.raises(InputError, match="rig.yaml: ground is 'low', expected a number"):
        load_rig(written(tmp_path, document).rename(tmp_path / "rig.yaml"))


def test_ground_moves_where_people_are_seen(rig):
    """A person on a ground as far below as the rig is raised is seen by the same cameras."""
    raised = changed(rig, lambda R, C: (R, C + [0, 0, 1000.0]))
    space, same = propose_space(rig), propose_space(raised.with_ground(1000))
    assert np.allclose(space.low + [0, 0, 1000], same.low)
    assert np.allclose(space.size, same.size)


@pytest.mark.parametrize("name", ["campus", "shelf"])
def test_shipped_rigs_have_the_papers_space_and_no_suspicion(name):
    rig = load_rig(CONFIG / f"{name}.yaml")
    assert len(rig) == {"campus": 3, "shelf": 5}[name]
    assert rig.cameras[0].image_size == {"campus": (360, 288), "shelf": (1032, 776)}[name]
    expected = {"campus": "3000,4500,1000,12000,12000,2000", "shelf": "450,-320,800,8000,8000,2000"}
    assert str(rig.space) == expected[name]
    assert check_rig(rig) == []


# --- Other tools' files -----------------------------------------------------------------------


def test_voxelpose_json(rig, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(voxelpose_json(rig)))
    again = load_rig(path, image_size=(1280, 720))
    assert again.names == rig.names and "VoxelPose" in again.source
    for before, after in zip(rig.cameras, again.cameras, strict=True):
        assert_same_projection(before, after)
    with pytest.raises(InputError, match="--image-size WxH"):
        load_rig(path)


@pytest.mark.parametrize("wrapped", [False, True])
def test_panoptic_json(rig, tmp_path, wrapped):
    entries = panoptic_json(rig)
    vga = entries[0] | {"name": "01_01", "panel": 1, "node": 1, "type": "vga"}
    entries.append(vga | {"resolution": [640, 480]})
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"cameras": entries} if wrapped else entries))
    again = load_rig(path)
    assert again.names == ("00_00", "00_01", "00_02", "00_03") and "Panoptic" in again.source
    for before, after in zip(rig.cameras, again.cameras, strict=True):
        assert_same_projection(before, after)
        assert np.allclose(before.C, after.C)


def test_qualisys(rig, tmp_path, caplog):
    path = tmp_path / "hall.qca.txt"
    path.write_text(qualisys_xml(rig))
    with caplog.at_level(logging.INFO):
        again = load_rig(path)
    assert again.names == rig.names and again.name == "hall"
    assert "Qualisys" in again.source and "Qualisys" in caplog.text
    for before, after in zip(rig.cameras, again.cameras, strict=True):
        assert_same_projection(before, after)


def test_the_view_rotation_of_qualisys_counts_where_the_pose_has_no_upright(rig, tmp_path):
    down = dataclasses.replace(rig.cameras[0], R=np.diag([1.0, -1.0, -1.0]))
    rig = dataclasses.replace(rig, cameras=(down, *rig.cameras[1:]))
    path = tmp_path / "hall.qca.txt"
    text = qualisys_xml(rig)
    assert "<camera " in text and "viewrotation" not in text
    path.write_text(text.replace("<camera ", '<camera viewrotation="270" '))
    assert [camera.quarter_turns for camera in load_rig(path).cameras] == [3, None, None, None]
    path.write_text(text.replace("<camera ", '<camera viewrotation="0" '))
    assert [camera.quarter_turns for camera in load_rig(path).cameras] == [None] * 4
    path.write_text(text.replace("<camera ", '<camera viewrotation="45" '))
    with pytest.raises(InputError, match="'cam0': viewrotation is 45, expected 0, 90, 180 or 270"):
        load_rig(path)


def test_image_size_of_the_file_must_be_the_one_given(rig, tmp_path):
    path = tmp_path / "hall.qca.txt"
    path.write_text(qualisys_xml(rig))
    assert load_rig(path, image_size=(1280, 720)).cameras[0].image_size == (1280, 720)
    with pytest.raises(InputError, match="'cam0'.*1280x720.*640x480 was given"):
        load_rig(path, image_size=(640, 480))


# --- Errors -----------------------------------------------------------------------------------


def written(tmp_path, document) -> Path:
    path = tmp_path / "bad.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def rig_document(rig) -> dict:
    cameras = [
        {
            "name": camera.name,
            "image_size": list(camera.image_size),
            "K": camera.K.tolist(),
            "distortion": camera.distortion.tolist(),
            "R": camera.R.tolist(),
            "C": camera.C.tolist(),
        }
        for camera in rig.cameras
    ]
    return {"format": "voxelpose_rig/1", "cameras": cameras}


def drop(document, index, key):
    del document["cameras"][index][key]


def put(document, index, key, value):
    document["cameras"][index][key] = value


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: put(d, 1, "lens", "wide"), "'cam1': lens is 'wide', expected pinhole or"),
        (lambda d: put(d, 1, "distortion", [0.1] * 6), "'cam1': distortion has 6 coefficients"),
        (lambda d: put(d, 1, "distortion", ["a"] * 5), "'cam1': distortion is .*expected numbers"),
        (lambda d: drop(d, 1, "K"), "camera 'cam1': key 'K' is missing"),
        (lambda d: drop(d, 2, "name"), "camera 2: key 'name' is missing"),
        (lambda d: put(d, 1, "C", [1, float("nan"), 2]), "camera 'cam1': C .* not finite"),
        (lambda d: put(d, 1, "R", np.diag([1, 1, -1]).tolist()), "'cam1': R is not a rotation"),
        (lambda d: put(d, 1, "R", [[1, 0], [0, 1]]), "'cam1': R is .*expected 3x3 numbers"),
        (lambda d: put(d, 1, "K", "none"), "'cam1': K is 'none', expected 3x3 numbers"),
        (lambda d: put(d, 0, "image_size", [1280.5, 720]), r"'cam0': image_size is \[1280.5, 720"),
        (lambda d: put(d, 0, "image_size", [0, 720]), "'cam0': image_size is"),
        (lambda d: put(d, 1, "time_offset_ms", "late"), "'cam1': time_offset_ms is 'late', expected a num"),
        (lambda d: put(d, 1, "time_offset_ms", [33]), r"'cam1': time_offset_ms is \[33\], expected a num"),
        (
            lambda d: put(d, 1, "time_offset_ms", float("nan")),
            "'cam1': time_offset_ms is nan, expected milli",
        ),
        (lambda d: put(d, 1, "time_offset_ms", 1e9), "'cam1': time_offset_ms is 1e.09, expected milli"),
        (lambda d: put(d, 3, "name", "cam0"), "camera 'cam0' appears twice"),
        (lambda d: put(d, 3, "distorsion", [0] * 5), "'cam3': key 'distorsion' is unknown"),
        (lambda d: d.update(cameras=d["cameras"][:1]), r"1 camera\(s\), expected at least 2"),
        (lambda d: d.update(cameras=[]), r"0 camera\(s\), expected at least 2"),
        (lambda d: d.update(cameras=None), "cameras: expected a list"),
        (lambda d: d.update(unit="inch"), "unit is 'inch', expected one of mm, cm, m"),
        (lambda d: d.update(format="voxelpose_rig/9"), "expected 'voxelpose_rig/1'"),
        (lambda d: d.update(space={"center": [0, 0, 0]}), "space: key 'size' is missing"),
        (lambda d: d.update(space={"center": [0, 0, 0], "size": [1, 0, 1]}), "space: size is"),
    ],
)
def test_faults_are_named_in_one_line_with_the_file(rig, tmp_path, damage, words):
    document = rig_document(rig)
    damage(document)
    path = written(tmp_path, document)
    with pytest.raises(InputError, match=words) as error:
        load_rig(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty, or holds comments only"),
        ("# A camera rig.", "is empty, or holds comments only"),
        ("42", "is no known calibration"),
        ('{"a": {"b": 1}}', "is no known calibration"),
        ("[1, 2", "cannot be parsed"),
        ("<calibration><cameras></calibration>", "cannot be parsed"),
        ("<calibration><cameras/></calibration>", r"0 camera\(s\)"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><calibration/>", "document type"),
        ("format: voxelpose_rig/1\ncameras: !!python/object/apply:os.getcwd []", "cannot be"),
        ("a: [" + "[" * 3000, "cannot be parsed|nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ('{"0": {"R": 1, "T": 2}, "0": {}}', "key '0' appears twice"),
        ('{"0": {"R": 1, "T": 2}}', "camera '0': key 'fx' is missing"),
        ('[{"panel": 0, "node": 3}]', "camera '00_03': key 'R' is missing"),
        ('[{"panel": null, "node": 3, "K": 1}]', "panel"),
        ("a: b: c", "cannot be parsed"),
    ],
)
def test_files_that_are_no_calibration(tmp_path, text, words):
    with pytest.raises(InputError, match=words) as error:
        load_rig(written(tmp_path, text), image_size=(640, 480))
    assert "bad.json" in str(error.value) and "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="missing.yaml: does not exist"):
        load_rig(tmp_path / "missing.yaml")
    with pytest.raises(InputError, match="is a folder with 0 YAML files"):
        load_rig(tmp_path)
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(InputError, match="is not text"):
        load_rig(tmp_path / "image.png")
    (tmp_path / "giant.json").write_bytes(b"[" + b" " * 5 * 2**20 + b"]")
    with pytest.raises(InputError, match="expected at most 4 MiB"):
        load_rig(tmp_path / "giant.json")


def test_qualisys_faults_are_named(rig, tmp_path):
    text = qualisys_xml(rig)
    for damaged, words in [
        (text.replace(' focalLengthV="', ' lost="', 1), "'cam0': attribute 'focalLengthV'"),
        (text.replace('r11="', 'r11="x', 1), "'cam0': transform r11 is 'x.*expected a number"),
        (text.replace('x="4000.0"', 'x="nan"', 1), "'cam0': C has a value that is not finite"),
        (text.replace("<fov_video", "<lost", 1), "'cam0': attribute 'left' of <fov_video>"),
    ]:
        with pytest.raises(InputError, match=words):
            load_rig(written(tmp_path, damaged))


# --- Rig and Space ----------------------------------------------------------------------------


def test_rig_select_and_names(rig):
    pair = rig.select(["cam2", "cam0"])
    assert pair.names == ("cam2", "cam0") and len(pair) == 2
    assert pair.camera("cam0") is rig.cameras[0]
    with pytest.raises(InputError, match="'cam9' is not in rig.*cam0, cam1"):
        rig.select(["cam0", "cam9"])
    with pytest.raises(InputError, match="expected at least 2"):
        rig.select(["cam0"])


def test_space():
    space = Space.parse("100,200,1000,2000,4000,2000")
    assert space.low.tolist() == [-900, -1800, 0] and space.high.tolist() == [1100, 2200, 2000]
    assert space.contains([[0, 0, 1000], [0, 2201, 1000], [1100, 2200, 2000]]).tolist() == [
        True,
        False,
        True,
    ]
    assert str(Space.parse(str(space))) == str(space)
    for text in ("1,2,3", "1,2,3,4,5,x", "0,0,0,1,1,0", "0,0,nan,1,1,1"):
        with pytest.raises(InputError, match="space"):
            Space.parse(text)


# --- Check ------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", CHANGES)
def test_check_names_the_cause(rig, words):
    lines = check_rig(changed(rig, CHANGES[words]))
    assert len(lines) == 1
    assert re.search(words, lines[0])


@pytest.mark.parametrize("words", CHANGES)
@pytest.mark.parametrize("name", ["campus", "shelf"])
def test_check_names_the_cause_in_recorded_rigs(name, words):
    rig = load_rig(CONFIG / f"{name}.yaml").with_space(None)
    lines = check_rig(changed(rig, CHANGES[words]))
    assert len(lines) == 1
    assert re.search(words, lines[0])


@pytest.mark.parametrize("unit", [1e-3, 0.1, 1e3])
@pytest.mark.parametrize("change", [lambda R, C: (R.T, -R @ C), lambda R, C: (R.T, C)])
def test_check_names_a_wrong_unit_and_direction_together(rig, unit, change):
    lines = check_rig(changed(changed(rig, change), lambda R, C: (R, C * unit)))
    assert lines[0].startswith("unit: ")
    assert any("camera-to-world" in line for line in lines[1:])


def test_check_names_the_one_camera_with_an_inverted_pose(rig):
    odd = rig.cameras[1]
    odd = dataclasses.replace(odd, R=odd.R.T, C=-odd.R @ odd.C)
    lines = check_rig(dataclasses.replace(rig, cameras=(rig.cameras[0], odd, *rig.cameras[2:])))
    assert len(lines) == 1
    assert "of camera 'cam1', are the poses camera-to-world" in lines[0]


def test_check_names_the_camera_that_is_the_world(rig):
    first = rig.cameras[0]
    lines = check_rig(changed(rig, lambda R, C: (R @ first.R.T, first.R @ (C - first.C))))
    assert len(lines) == 1
    assert "the world is camera cam0's" in lines[0]


@pytest.mark.parametrize("unit", ["m", "mm"])
def test_a_world_that_an_adjustment_moved_is_still_a_cameras(rig, unit):
    """3 mm and 3e-3 off the identity: one line, not one for each camera."""
    first = rig.cameras[0]
    turn = cv2.Rodrigues(np.array([0.003, -0.003, 0.003]))[0]
    moved = changed(rig, lambda R, C: (R @ first.R.T @ turn.T, turn @ first.R @ (C - first.C) + [2, 2, -3]))
    (line,) = check_rig(dataclasses.replace(moved, unit=unit))
    assert line.startswith("direction: the world is camera cam0's") and "board" in line


@pytest.mark.parametrize("name", ["caliscope_anchor.toml", "kalibr660.yaml", "multical_master.json"])
def test_worlds_of_a_camera_are_one_line(shared_dir, name):
    path = shared_dir / "cases/world-of-a-camera" / name
    rig = load_rig(present(path))
    assert [line.startswith("direction: the world is camera ") for line in check_rig(rig)] == [True]


@pytest.mark.parametrize("name", ["ceiling/tilted.yaml", "caliscope/small_rig.toml"])
def test_unusual_rigs_are_not_wrong(shared_dir, name, tmp_path):
    rig = load_rig(present(shared_dir / "cases" / name))
    assert check_rig(rig) == []
    save_rig(rig, tmp_path / "rig.yaml")
    assert check_rig(load_rig(tmp_path / "rig.yaml")) == []


def present(path) -> Path:
    if not path.exists():
        pytest.skip(f"no {path}")
    return path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_right_rigs_are_not_called_wrong(kind):
    """Cameras turned, overhead, on a desk, in a hall; `right_rigs.py` prints the rates of many."""
    for seed in range(2000, 2006):
        assert false_alarms(right_rig(kind, seed)) == [], seed


def test_tilted_cameras_under_a_ceiling_rolled_anyhow():
    cameras = [
        camera_at(f"c{i}", (x, y, 3400), (0, 0, 900), roll, (1280, 960), 94)
        for i, (x, y, roll) in enumerate(
            [(-1500, -1500, 0.4), (1500, -1500, 2.9), (1500, 1500, 3.6), (-1500, 1500, 5.8)]
        )
    ]
    assert check_rig(Rig(tuple(cameras))) == []


def test_turned_cameras_are_named_and_not_wrong(rig):
    cameras = list(rig.cameras)
    for index, turn in ((1, [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]), (2, np.diag([-1, -1, 1]))):
        cameras[index] = dataclasses.replace(cameras[index], R=np.array(turn) @ cameras[index].R)
    turned = dataclasses.replace(rig, cameras=tuple(cameras), notes=("read so",))
    assert check_rig(turned) == []
    (quarter, half) = rig_remarks(turned)
    assert quarter.startswith("camera 'cam1' is mounted turned by 90 degrees")
    assert half.startswith("camera 'cam2' is mounted turned by 180 degrees")
    assert rig_findings(turned) == (["read so", quarter, half], [])
    report_findings(turned, print, strict=True)
    assert rig_remarks(rig) == []


def test_what_looks_wrong_is_an_error_when_strict(rig):
    wrong = changed(rig, CHANGES["is the world y up"])
    said: list[str] = []
    report_findings(wrong, said.append)
    assert said == check_rig(wrong) != []
    with pytest.raises(InputError, match="^rig 'rig': direction: .*is the world y up"):
        report_findings(wrong, said.append, strict=True)


def test_findings_are_in_the_axes_and_unit_of_the_file(rig, tmp_path):
    """Panoptic's reader turns y down into z up; a file that is z up instead hears of its own axes."""
    document = panoptic_json(changed(rig, lambda R, C: (R @ Y_DOWN, Y_DOWN.T @ C)))
    path = written(tmp_path, document)
    (line,) = check_rig(load_rig(path))
    assert "is the world z up, expected y down" in line
    document = panoptic_json(changed(rig, lambda R, C: (R, C - [0, 0, 3000])))
    (line,) = check_rig(load_rig(written(tmp_path, document)))
    assert "'00_00' is 0.50 m below the ground y = 0" in line and "Give --ground Z" in line
    assert "y = 0.75 m" in check_rig(load_rig(path).with_ground(-750))[0]
    document = panoptic_json(changed(rig, lambda R, C: (R, C / 100)))
    (line,) = check_rig(load_rig(written(tmp_path, document)))
    assert "positions in metres, expected cm? Give --unit m" in line


def test_the_check_knows_the_ground(rig):
    lower = changed(rig, lambda R, C: (R, C - [0, 0, 3000]))
    assert check_rig(lower.with_ground(-3000)) == []
    boxed = lower.with_ground(-3000)
    assert check_rig(boxed.with_space(propose_space(boxed))) == []


def test_check_of_cameras_below_the_ground(rig):
    lines = check_rig(changed(rig, lambda R, C: (R, C - [0, 0, 3000])))
    assert len(lines) == 1 and "'cam0' is 0.50 m below the ground z = 0" in lines[0]
    assert "Give --ground Z" in lines[0]


def test_check_of_a_good_rig_is_silent(rig):
    assert check_rig(rig) == []
    assert check_rig(rig.with_space(propose_space(rig))) == []


def test_check_names_camera_that_looks_away(rig):
    away = looking_at("cam3", (4100, -3050, 2000), target=(9000, -9000, 1000))
    lines = check_rig(dataclasses.replace(rig, cameras=(*rig.cameras[:3], away)))
    assert lines == [
        "pose: camera 'cam3' sees no person anywhere that another camera sees",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"K": [[900, 0, 1900], [0, 900, 360], [0, 0, 1]]}, "principal point"),
        ({"K": [[900, 0, 640], [0, 500, 360], [0, 0, 1]]}, "focal lengths"),
        ({"K": [[4, 0, 640], [0, 4, 360], [0, 0, 1]]}, "field of view"),
        ({"distortion": [-0.3, 0.1, -0.05, 0.001, -0.001]}, "tangential distortion of 0.05"),
        ({"distortion": [30, 0, 0, 0, 0]}, "undistorted, a corner .* is 0.3. times as far"),
        ({"distortion": [-0.9, 0, 0, 0, 0]}, "folds back inside the image"),
        ({"distortion": [-0.9, 0, 0, 0, 0, 0.9, 0, 0]}, "folds back inside the image"),
        ({"distortion": [-2.5, 0, 0, 0], "fisheye": True}, "folds back inside the image"),
        (
            {"distortion": [0] * 4, "fisheye": True, "K": [[99, 0, 640], [0, 99, 360], [0, 0, 1]]},
            "field of view",
        ),
    ],
)
def test_check_of_intrinsics(rig, change, words):
    bad = dataclasses.replace(rig.cameras[0], **change)
    lines = check_rig(dataclasses.replace(rig, cameras=(bad, *rig.cameras[1:])))
    assert any(re.search(words, line) and "'cam0'" in line for line in lines)


def test_check_of_doubles_and_of_the_space(rig):
    twin = dataclasses.replace(rig.cameras[0], name="twin")
    lines = check_rig(dataclasses.replace(rig, cameras=(*rig.cameras, twin)))
    assert len(lines) == 1 and "'cam0' and 'twin'" in lines[0]
    lines = check_rig(rig.with_space(Space((50_000, 0, 1000), (4000, 4000, 2000))))
    assert len(lines) == 1 and "see only 0 %" in lines[0]


# --- Proposed space ---------------------------------------------------------------------------


def test_proposed_space_is_where_cameras_meet(rig):
    space = propose_space(rig)
    assert space.low[2] == 0 and space.size[2] == 2000
    assert space.contains([[200, 100, 900]])[0]
    assert (space.size[:2] > 3000).all() and (space.size[:2] < 9000).all()


def test_proposed_space_of_two_cameras(rig):
    space = propose_space(rig.select(["cam0", "cam1"]))
    assert space.contains([[200, 100, 900]])[0] and (space.size <= 15_000).all()


def test_proposed_space_of_a_wrong_unit_is_an_error(rig):
    for factor in (1e3, 1e9):
        wrong = changed(rig, lambda R, C, factor=factor: (R, C * factor))
        with pytest.raises(InputError, match="check unit and direction"):
            propose_space(wrong)
    away = looking_at("away", (9000, 0, 1500), target=(19000, 0, 1500))
    with pytest.raises(InputError, match="no two cameras see a person"):
        propose_space(Rig((rig.cameras[1], away)))


# --- Real files -------------------------------------------------------------------------------


def real_rig(shared_dir, name) -> Rig:
    data = shared_dir / "data"
    if name == "demo":
        return load_rig(data / "pose2sim/MultiPerson/Calib.qca.txt")
    if name == "campus":
        return load_rig(data / "campus/calibration_campus.json", (360, 288))
    if name == "shelf":
        return load_rig(data / "shelf/calibration_shelf.json", (1032, 776))
    if name == "band":
        return load_rig(data / "panoptic/160906_band1/calibration_160906_band1.json")
    return load_rig(data / "panoptic/mmpose_demo/camera_parameters.json").select(PANOPTIC_VIEWS)


def actor_joints(path) -> np.ndarray:
    """(N, 14, 3) mm of all labelled people."""
    cells = scipy.io.loadmat(path)["actor3D"]
    while cells.shape == (1, 1):
        cells = cells[0, 0]
    poses = [cell for actor in cells[0] for cell in actor[:, 0] if cell.size == 42]
    return 1000 * np.array(poses, dtype=np.float64)


def trc_joints(path) -> np.ndarray:
    """(F, 21, 3) mm, z up."""
    rows = path.read_text().splitlines()[5:]
    values = [[float(v) for v in row.split("\t")[2:] if v] for row in rows if row.strip()]
    return 1000 * np.array(values).reshape(len(values), -1, 3)[..., [2, 0, 1]]


@pytest.mark.parametrize("name", ["demo", "campus", "shelf", "band", "mmpose_demo"])
def test_real_rigs_have_no_suspicion(shared_dir, name):
    rig = real_rig(shared_dir, name)
    assert len(rig) == {"demo": 4, "campus": 3, "shelf": 5, "band": 31, "mmpose_demo": 5}[name]
    assert check_rig(rig) == []


@pytest.mark.parametrize("name", ["demo", "campus", "shelf", "band", "mmpose_demo"])
@pytest.mark.parametrize("words", CHANGES)
def test_wrong_units_and_poses_of_real_rigs_are_caught(shared_dir, name, words):
    rig = changed(real_rig(shared_dir, name), CHANGES[words])
    # As if a file in mm, z up held these poses: Panoptic's own axes have a test of their own.
    lines = check_rig(dataclasses.replace(rig, unit="mm", axes=np.eye(3)))
    assert len(lines) == 1 and re.search(words, lines[0])


def test_real_people_are_in_the_proposed_space(shared_dir):
    data = shared_dir / "data"
    people = {
        "demo": trc_joints(data / "pose2sim/SinglePerson/triangulated_openpose_0-100.trc"),
        "campus": actor_joints(data / "campus/actorsGT_rebuilt.mat"),
        "shelf": actor_joints(data / "shelf/actorsGT_rebuilt.mat"),
    }
    for name, joints in people.items():
        space = propose_space(real_rig(shared_dir, name))
        inside = space.contains(np.clip(joints, [-np.inf, -np.inf, 0], [np.inf, np.inf, 2000]))
        assert inside.all(), name
        # At most the paper's 12 x 12 m and 8 x 8 m.
        limit = {"demo": 5000, "campus": 12_000, "shelf": 8000}[name]
        assert (space.size[:2] <= limit).all(), name


def test_panoptic_people_are_on_the_ground_and_in_the_proposed_space(shared_dir):
    folder = shared_dir / "data/panoptic/160906_band1"
    scene = json.loads((folder / "hdPose3d_stage1_coco19/body3DScene_00000168.json").read_text())
    rig = real_rig(shared_dir, "band")
    spaces = [propose_space(rig), propose_space(rig.select(PANOPTIC_VIEWS))]
    for body in scene["bodies"]:
        joints = np.reshape(body["joints19"], (19, 4))[:15, :3] @ Y_DOWN * 10
        assert -50 < joints[:, 2].min() and joints[:, 2].max() < 2000
        for space in spaces:
            assert space.contains(joints[2:3])[0] and (space.size[:2] < 8000).all()


def test_qualisys_poses_agree_with_detections_of_the_published_trajectory(shared_dir):
    data = shared_dir / "data/pose2sim/SinglePerson"
    rig = load_rig(data / "Calib.qca.txt")
    joints = trc_joints(data / "triangulated_openpose_0-100.trc")[:20]
    detections = json.loads((data / "openpose_body25b.json").read_text())
    # Knees and ankles, right and left, in the .trc and in BODY_25B.
    trc, body25b = [1, 2, 7, 8], [14, 16, 13, 15]
    for camera in rig.cameras:
        errors = []
        for pose, people in zip(joints, detections[camera.name], strict=False):
            seen = np.reshape(people[0], (25, 3))[body25b]
            offsets = np.linalg.norm(camera.project(pose[trc])[0] - seen[:, :2], axis=1)
            errors += offsets[seen[:, 2] > 0.3].tolist()
        assert np.median(errors) < 20
