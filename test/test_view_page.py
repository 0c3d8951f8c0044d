"""`voxelpose view --out`: the page with the 3D view, also in a real browser."""

import base64
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from browser import evaluate, needs_browser, screenshot
from skeleton_recordings import person, recording, walk
from test_cli import refused, rig_file, run  # noqa: F401  (a fixture)

from voxelpose_core.drawing.colors import person_color
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.pages import html
from voxelpose_core.pages.scene import scene_json
from voxelpose_core.pages.view_page import write_view_page
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeleton_files import FrameSkeletons, Recording, write_skeletons
from voxelpose_core.skeletons import COCO17, get_joint_set

GAP = -32768


@pytest.fixture
def rig(rig_file):  # noqa: F811
    return load_rig(rig_file)


@pytest.fixture
def result(tmp_path):
    """skeletons.json of two people for 40 frames."""
    path = tmp_path / "skeletons.json"
    people = {0: walk(40), 3: walk(40, seed=1, start=(-800.0, 700.0))}
    write_skeletons([path], recording(people))
    return path


def scene_of(path):
    text = re.search(r'<script type="application/json" id="scene">(.*?)</script>', path.read_text(), re.S)[1]
    return json.loads(text)


def coordinates(scene):
    steps = np.frombuffer(base64.b64decode(scene["coordinates"]), "<i2").astype(int)
    return steps.reshape(-1, len(scene["joint_names"]), 3)


def test_the_page_has_the_joints_to_a_millimetre(rig, tmp_path):
    joints = walk(5)
    joints[2, 9] = np.nan
    write_view_page(tmp_path / "page.html", rig, recording({4: joints}))
    scene = scene_of(tmp_path / "page.html")
    steps = coordinates(scene)
    assert (steps[2, 9] == GAP).all() and (steps != GAP).sum() == 5 * 17 * 3 - 3
    found = np.where(steps == GAP, np.nan, steps * scene["step"] + np.array(scene["origin"]))
    np.testing.assert_allclose(found, joints, atol=0.51)
    assert scene["stamps"] == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08])
    assert [person["name"] for person in scene["people"]] == ["P4"]
    blue, green, red = person_color(4)
    assert scene["people"][0]["colors"][0] == f"#{red:02x}{green:02x}{blue:02x}"
    centers = [camera["center"] for camera in scene["cameras"]]
    np.testing.assert_allclose(centers, [camera.C for camera in rig.cameras], atol=0.51)


def test_a_world_of_kilometres_has_larger_steps(rig):
    far = walk(2)
    far[1, :, 0] += 2e6
    scene = json.loads(scene_json(rig, recording({0: far})))
    found = coordinates(scene) * scene["step"] + np.array(scene["origin"])
    np.testing.assert_allclose(found, far, atol=scene["step"] / 2 + 0.51)
    assert 30 <= scene["step"] <= 32


@pytest.mark.parametrize(
    ("joint_set", "people", "frames"),
    [("coco17", 3, 3600), ("coco_wholebody133", 3, 3600), ("coco17", 9, 20000)],
)
def test_a_page_stays_below_5_mb(rig, joint_set, people, frames, tmp_path):
    """A minute of three people, at 60 Hz, is there frame by frame."""
    known = get_joint_set(joint_set)
    skeletons = [
        Skeleton(np.full((len(known), 3), 100.0 * i), np.ones(len(known)), np.ones(len(known), bool), 0.9, i)
        for i in range(people)
    ]
    frame_sets = [FrameSkeletons(i, i / 60, skeletons) for i in range(frames)]
    write_view_page(tmp_path / "page.html", rig, Recording(known, frame_sets, 60.0))
    assert 1_000_000 < (tmp_path / "page.html").stat().st_size < 5_000_000
    shown = len(scene_of(tmp_path / "page.html")["stamps"])
    whole = (joint_set, people) == ("coco17", 3)
    assert shown == frames if whole else shown < frames
    assert ("frames shown" in (tmp_path / "page.html").read_text()) is not whole


def test_a_page_loads_nothing(rig, tmp_path):
    write_view_page(tmp_path / "page.html", rig, recording({0: walk(3)}))
    text = (tmp_path / "page.html").read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|\ssrc=|<link|@import|url\(|fetch\(|XMLHttpRequest|import\(", text)


def test_names_are_text(rig_file, tmp_path):  # noqa: F811
    text = rig_file.read_text().replace("cam0", "</script><b>{{scene}}")
    rig_file.write_text(text)
    rig = load_rig(rig_file)
    write_view_page(tmp_path / "page.html", rig)
    assert scene_of(tmp_path / "page.html")["cameras"][0]["name"] == "</script><b>{{scene}}"


@pytest.mark.parametrize("name", ["orbit.js", "viewer.js"])
def test_scripts_are_javascript(name):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    path = html._TEMPLATES / name
    assert subprocess.run(["node", "--check", path], capture_output=True, text=True).stderr == ""


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_draws_the_page(rig_file, result, dark, tmp_path):  # noqa: F811
    assert run("view", rig_file, result, "--out", tmp_path / "page.html") == 0
    picture = screenshot(tmp_path / "page.html", tmp_path, dark=dark)
    assert (picture[:40].mean() < 80) == dark
    canvas = picture[130:600, 150:].astype(int)
    for track_id in (0, 3):
        near = np.abs(canvas - person_color(track_id)).max(axis=2) < 12
        assert near.sum() > 150, f"person {track_id} is not drawn"


DRIVE = """
const $ = selector => document.querySelector(selector), canvas = $("canvas"), steps = [];
const look = () => canvas.toDataURL();
const wait = () => new Promise(done => setTimeout(done, 100));
const point = (kind, id, x, y, more = {}) => canvas.dispatchEvent(
  new PointerEvent(kind, {pointerId: id, clientX: x, clientY: y, bubbles: true, ...more}));
canvas.setPointerCapture = () => {};
const changes = async (name, act) => {
  const before = look(); act(); await wait(); steps.push(name + ":" + (look() !== before)); };
(async () => {
  await changes("orbit", () => { point("pointerdown", 1, 400, 300, {buttons: 1});
    point("pointermove", 1, 460, 320, {buttons: 1}); point("pointerup", 1, 460, 320); });
  await changes("pan", () => { point("pointerdown", 1, 400, 300, {buttons: 2});
    point("pointermove", 1, 460, 320, {buttons: 2}); point("pointerup", 1, 460, 320); });
  await changes("pinch", () => { point("pointerdown", 1, 300, 300); point("pointerdown", 2, 500, 300);
    point("pointermove", 2, 600, 300); point("pointerup", 1, 300, 300); point("pointerup", 2, 600, 300); });
  await changes("wheel", () => canvas.dispatchEvent(
    new WheelEvent("wheel", {deltaY: 200, cancelable: true})));
  const home = look(); canvas.dispatchEvent(new MouseEvent("dblclick")); await wait();
  steps.push("home:" + (look() !== home));
  await changes("slider", () => { const s = $("input[type=range]"); s.value = 30;
    s.dispatchEvent(new Event("input")); });
  steps.push($(".clock").textContent);
  await changes("hide", () => $(".legend input").click());
  $("select").value = "0.5";
  await changes("play", () => $(".bar button").click());
  $(".bar button").click(); await wait();  // what was to be drawn is drawn
  const stopped = look(); await wait(); steps.push("paused:" + (look() === stopped));
  answer(steps.join(" "));
})();
"""


@needs_browser
def test_mouse_touch_and_time_in_a_browser(rig_file, result, tmp_path):  # noqa: F811
    assert run("view", rig_file, result, "--out", tmp_path / "page.html") == 0
    assert evaluate(tmp_path / "page.html", tmp_path, DRIVE) == (
        "orbit:true pan:true pinch:true wheel:true home:true slider:true 0.60 s · frame 30 hide:true "
        "play:true paused:true"
    )


CONTENT = """
const shown = [...document.querySelectorAll(".legend, .clock")].map(e => e.textContent).join("|");
const pixels = document.querySelector("canvas").getContext("2d").getImageData(0, 0, 700, 400).data;
answer([shown, document.querySelector("input[type=range]").disabled, pixels.some(v => v)].join("|"));
"""


@needs_browser
@pytest.mark.parametrize(
    ("frame_sets", "expected"),
    [
        (None, "|rig only|true|true"),
        ([], "no person in this recording|rig only|true|true"),
        ([FrameSkeletons(7, 0.5, [])] * 2, "no person in this recording|0.50 s · frame 7|false|true"),
        (
            [FrameSkeletons(7, 0.5, [person(walk(1)[0], track_id=-1)])],
            "not trackedright side of the body darker|0.50 s · frame 7|true|true",
        ),
    ],
)
def test_little_to_see_in_a_browser(rig, frame_sets, expected, tmp_path):
    shown = None if frame_sets is None else Recording(COCO17, frame_sets, 30.0)
    write_view_page(tmp_path / "page.html", rig, shown)
    assert evaluate(tmp_path / "page.html", tmp_path, CONTENT) == expected


# Bad input -----------------------------------------------------------------------------------------


def test_without_people_the_rig_is_shown(rig_file, tmp_path, capsys):  # noqa: F811
    write_skeletons([tmp_path / "none.json"], Recording(COCO17, [FrameSkeletons(0, 0.0, [])], 30.0))
    assert run("view", rig_file, tmp_path / "none.json", "--out", tmp_path / "page.html") == 0
    assert "none.json: no person in 1 frames: only the rig is shown" in capsys.readouterr().err
    assert scene_of(tmp_path / "page.html")["people"] == []


def test_skeletons_of_another_rig_are_named(rig_file, tmp_path, capsys):  # noqa: F811
    elsewhere = walk(3) + [30000.0, 0.0, 0.0]
    write_skeletons([tmp_path / "other.json"], recording({0: elsewhere}))
    assert run("view", rig_file, tmp_path / "other.json", "--out", tmp_path / "page.html") == 0
    expected = "no camera of rig 'rig' sees more than 0 % of its joints, expected the rig that they were"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("missing.json", "--out", "a.html"), "missing.json: cannot be read"),
        (("rig.yaml", "--out", "a.html"), "rig.yaml: not valid JSON"),
        (("--out", "a.pdf"), "--out a.pdf: expected a file that ends in .html or .htm"),
        (("--out", "none/a.html"), "folder 'none' does not exist"),
        (("--out", "folder.html"), "is a folder, expected a file to write"),
    ],
)
def test_bad_input_is_refused(rig_file, arguments, expected, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    assert run("view", rig_file, *arguments) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "a.html").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(rig_file, tmp_path, capsys):  # noqa: F811
    (tmp_path / "locked").mkdir(mode=0o500)
    assert run("view", rig_file, "--out", tmp_path / "locked" / "a.html") == 2
    assert "no permission" in capsys.readouterr().err


def test_a_full_disk_is_named(rig, monkeypatch, tmp_path):
    from voxelpose_core.errors import InputError

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("voxelpose_core.atomic_files.whole_file", full)
    with pytest.raises(InputError, match=r"page.html: cannot be written \(No space left"):
        write_view_page(tmp_path / "page.html", rig)
