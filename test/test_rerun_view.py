"""`voxelpose view` in the Rerun viewer: files for it, read back."""

import dataclasses
import os
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rerun_files import needs_rerun, rows_of
from scipy.spatial.transform import Rotation
from skeleton_recordings import person, recording, walk
from test_cli import fake, refused, rig_file, run, videos  # noqa: F401  (fixtures)

from voxelpose_core import rerun_destination, rerun_view
from voxelpose_core.command_line import view
from voxelpose_core.drawing.body import Body
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeleton_files import write_skeletons
from voxelpose_core.skeletons import COCO17, get_joint_set


@pytest.fixture
def result(tmp_path):
    joints = walk(5)
    joints[1] = np.nan
    write_skeletons([tmp_path / "skeletons.json"], recording({2: joints}, rate_hz=10.0))
    return tmp_path / "skeletons.json"


@needs_rerun
def test_rig_images_and_skeletons_in_a_file(rig_file, videos, result, tmp_path, capsys):  # noqa: F811
    path = tmp_path / "walk.rrd"
    assert run("view", rig_file, result, "--videos", *videos, "--save", path) == 0
    assert f"written       {path}" in capsys.readouterr().out
    rows = rows_of(path)
    assert len(rows["/world/space"]) == 1
    for index in range(3):
        seen = rows[f"/world/cameras/cam{index}"]
        kinds = ("Transform3D:translation", "Pinhole:image_from_camera", "EncodedImage:blob")
        assert [sum(kind in row for row in seen) for kind in kinds] == [1, 1, 6]
    joints = rows["/world/people/joints"]
    assert [row["frame"] for row in joints] == [0, 1, 2, 3, 4]
    assert [row["time"] for row in joints] == [0, 10**8, 2 * 10**8, 3 * 10**8, 4 * 10**8]
    # Metres; in the second frame set nobody is there.
    expected = walk(5) / 1000
    for frame in (0, 2, 3, 4):
        np.testing.assert_allclose(joints[frame]["Points3D:positions"], expected[frame], atol=1e-4)
        assert joints[frame]["Points3D:labels"][0] == "P2 nose"
    assert joints[1]["Points3D:positions"] == rows["/world/people/limbs"][1]["LineStrips3D:strips"] == []


@needs_rerun
def test_page_and_file_in_one_run(rig_file, result, tmp_path):  # noqa: F811
    page, saved = tmp_path / "a.html", tmp_path / "a.rrd"
    assert run("view", rig_file, result, "--out", page, "--save", saved) == 0
    assert page.stat().st_size > 10_000 and saved.stat().st_size > 5_000


@pytest.fixture
def window(monkeypatch):
    """Stands in for the viewer's window: keeps what it was opened with, `port_answers` before and after."""
    import rerun

    stand_in = SimpleNamespace(opened=[], port_answers=[False, True], error=None)

    def spawn(recording, **options):
        if stand_in.error is not None:
            raise stand_in.error
        stand_in.opened.append(options)

    monkeypatch.setattr(rerun.RecordingStream, "spawn", spawn)
    monkeypatch.setattr(rerun_destination, "_answers", lambda host, port: stand_in.port_answers.pop(0))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setenv("DISPLAY", ":0")
    return stand_in


@needs_rerun
def test_without_a_file_a_window_opens(rig_file, result, window, monkeypatch, capsys):  # noqa: F811
    assert run("view", rig_file, result) == 0
    assert window.opened == [{"memory_limit": "75%"}] and "in the Rerun viewer" in capsys.readouterr().out
    # A window that is open already is used, with a screen or, as through an SSH tunnel, without one.
    window.port_answers = [True, True]
    monkeypatch.delenv("DISPLAY")
    assert run("view", rig_file, result) == 0
    assert len(window.opened) == 2


@needs_rerun
def test_a_window_that_does_not_open_is_one_line(rig_file, window, monkeypatch, capsys):  # noqa: F811
    window.error = RuntimeError("no viewer\nin PATH\n\n    To install it, ...")
    assert "the Rerun viewer cannot be opened (no viewer in PATH)" in refused(capsys, "view", rig_file)
    window.error, window.port_answers = None, [False, False]
    assert "nothing answers on port 9876" in refused(capsys, "view", rig_file)
    window.port_answers = [False]
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform.startswith("linux"):
        line = refused(capsys, "view", rig_file)
        assert "no screen here (DISPLAY is not set)" in line and "a file to save to" in line
        assert len(window.opened) == 1


@needs_rerun
def test_hands_are_thin_people_have_names_and_covariances_axes(tmp_path):
    hands = get_joint_set("wholebody133")
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    covariance = axes @ np.diag([100.0, 400.0, 2500.0]) @ axes.T
    skeleton = Skeleton(
        joints=rng.normal(0, 300, (len(hands), 3)),
        joint_scores=np.ones(len(hands)),
        joint_valid=np.ones(len(hands), bool),
        score=1.0,
        track_id=-1,
        joint_covariances=np.tile(covariance, (len(hands), 1, 1)),
    )
    view = rerun_view.RerunView(save=tmp_path / "a.rrd", covariances=True)
    view.at_frame(0, 0.0)
    view.show_skeletons([skeleton], hands)
    view.at_frame(1, 0.1)
    view.show_skeletons([], hands)
    view.finish()
    rows = rows_of(tmp_path / "a.rrd")
    radii = rows["/world/people/joints"][0]["Points3D:radii"]
    assert radii[hands.index("left_wrist")] == pytest.approx(0.025)
    assert radii[hands.index("left_hand_root")] < 0.01
    assert rows["/world/people/ids"][0]["Points3D:labels"] == ["?"]
    assert rows["/world/people/ids"][0]["Points3D:positions"][0][2] == pytest.approx(
        skeleton.joints[:, 2].max() / 1000 + 0.25
    )
    ellipsoids = rows["/world/people/covariances"][0]
    np.testing.assert_allclose(ellipsoids["Ellipsoids3D:half_sizes"][0], [0.01, 0.02, 0.05], atol=1e-6)
    turn = Rotation.from_quat(ellipsoids["Ellipsoids3D:quaternions"][0]).as_matrix()
    np.testing.assert_allclose(turn @ np.diag([100.0, 400.0, 2500.0]) @ turn.T, covariance, rtol=1e-4, atol=1)
    for kind in ("limbs", "joints", "ids", "covariances"):
        (last,) = (row for row in rows[f"/world/people/{kind}"] if row["frame"] == 1)
        assert not any(
            value for name, value in last.items() if name.endswith(("strips", "positions", "centers"))
        )


@needs_rerun
def test_images_are_shrunk_together_with_the_lens(rig_file, tmp_path):  # noqa: F811
    rig = load_rig(rig_file)
    camera = rig.cameras[0]
    width, height = camera.image_size
    view = rerun_view.RerunView(save=tmp_path / "a.rrd", image_width=width // 4)
    view.show_rig(rig)
    view.at_time(1_700_000_000_123_456_789)
    view.show_image(camera.name, np.zeros((height, width, 3), np.uint8))
    with pytest.raises(
        InputError, match=f"image is 99x99, camera '{camera.name}' is calibrated for {width}x"
    ):
        view.show_image(camera.name, np.zeros((99, 99, 3), np.uint8))
    view.finish()
    rows = rows_of(tmp_path / "a.rrd")[f"/world/cameras/{camera.name}"]
    (lens,) = (row for row in rows if "Pinhole:resolution" in row)
    (image,) = (row for row in rows if "EncodedImage:blob" in row)
    assert lens["Pinhole:resolution"] == [[width // 4, height // 4]]
    pixels = np.reshape(lens["Pinhole:image_from_camera"][0], (3, 3)).T @ [0.1, 0.2, 1.0]
    whole = camera.K @ [0.1, 0.2, 1.0]
    np.testing.assert_allclose(pixels[:2], (whole[:2] + 0.5) / 4 - 0.5, atol=1e-3)
    jpeg = np.array(image["EncodedImage:blob"][0], np.uint8)
    assert cv2.imdecode(jpeg, cv2.IMREAD_COLOR).shape == (height // 4, width // 4, 3)
    assert image["time"] == 1_700_000_000_123_456_789


@needs_rerun
def test_skeletons_over_images_follow_the_lens(rig_file, tmp_path):  # noqa: F811
    rig = load_rig(rig_file)
    bent = dataclasses.replace(rig.cameras[0], distortion=[-0.3, 0.05, 0.01, 0.0, 0.0])
    rig = dataclasses.replace(rig, cameras=(bent, *rig.cameras[1:]))
    skeleton = person(walk(1)[0], track_id=4)
    behind = person(skeleton.joints + 2.5 * (bent.C - [0, 0, bent.C[2]]), track_id=5)
    assert bent.sees(skeleton.joints).all() and not bent.sees(behind.joints).any()
    width, height = bent.image_size
    view = rerun_view.RerunView(save=tmp_path / "a.rrd", image_width=width // 2)
    view.show_rig(rig)
    view.at_time(1)
    view.show_skeletons([skeleton, behind], COCO17)
    view.at_time(2)
    view.show_skeletons([], COCO17)
    view.finish()
    shown, empty = rows_of(tmp_path / "a.rrd")[f"/world/cameras/{bent.name}/people"]
    limbs = Body.of(COCO17).limbs
    expected = (bent.project(skeleton.joints)[0] + 0.5) / 2 - 0.5
    np.testing.assert_allclose(shown["LineStrips2D:strips"], [expected[[a, b]] for a, b in limbs], atol=1e-3)
    assert empty["LineStrips2D:strips"] == []


@needs_rerun
@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("robot", "rerun+http://robot:9876/proxy"),
        ("10.0.0.7:1234", "rerun+http://10.0.0.7:1234/proxy"),
        ("[::1]:1234", "rerun+http://[::1]:1234/proxy"),
        ("rerun+http://robot:99/proxy", "rerun+http://robot:99/proxy"),
        ("http://robot:99", None),
        ("robot:port", None),
        (":99", None),
    ],
)
def test_addresses_of_viewers(address, url, monkeypatch):
    asked = []
    monkeypatch.setattr(rerun_destination, "_answers", lambda *place: asked.append(place))
    with pytest.raises(InputError) as error:
        rerun_view.RerunView(connect=address)
    if url is None:
        assert f"viewer '{address}': expected HOST, HOST:PORT or" in str(error.value) and not asked
    else:
        assert f"{url}: no Rerun viewer answers" in str(error.value) and len(asked) == 1


def test_without_rerun_one_line_says_what_to_type(rig_file, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr("voxelpose_core.rerun_destination.importlib.util.find_spec", lambda name: None)
    line = refused(capsys, "view", rig_file, "--save", tmp_path / "a.rrd")
    assert "pip install rerun-sdk" in line and "--out page.html" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--save", "a.txt"), "--save a.txt: expected a file that ends in .rrd"),
        (("--save", "none/a.rrd"), "folder 'none' does not exist"),
        (("--out", "a.html", "--images", "x", "y", "z"), "--images: a page holds no images"),
        (("--save", "a.rrd", "--videos", "missing.mp4", "b.mp4", "c.mp4"), "missing.mp4"),
        (("missing.json", "--save", "a.rrd"), "missing.json: cannot be read"),
    ],
)
def test_bad_input_is_refused(rig_file, arguments, expected, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(view, "check_available", lambda instead: None)
    assert expected in refused(capsys, "view", rig_file, *arguments)
