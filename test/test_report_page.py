"""`voxelpose estimate --report`: the page that says whether a recording is good."""

import re

import numpy as np
import pytest
from browser import evaluate, needs_browser, screenshot
from skeleton_recordings import recording, walk
from test_cli import fake, refused, rig_file, run, videos  # noqa: F401  (fixtures)

from voxelpose_core.camera_watch import CameraWatch
from voxelpose_core.command_line.options import kept_warnings, warn
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.pages import charts
from voxelpose_core.pages.measures import bone_names, bones_of, people_of
from voxelpose_core.pages.report_page import Run, write_report_page
from voxelpose_core.pose_types import Estimate
from voxelpose_core.results import RunReport
from voxelpose_core.skeleton_files import FrameSkeletons, Recording
from voxelpose_core.skeletons import COCO17


@pytest.fixture
def rig(rig_file):  # noqa: F811
    return load_rig(rig_file)


def run_of(rig, people, off_px=(0.0, 0.0, 0.0), warnings=(), judged=True):
    """A run whose 2D detections lie off the skeletons by so many pixels in each camera."""
    shown, report, agreement = recording(people), RunReport(rig), []
    watch = CameraWatch(rig, COCO17)
    for frame_set in shown.frame_sets:
        keypoints = []
        for camera, off in zip(rig.cameras, off_px):
            seen = [camera.project(s.joints)[0] + [off, 0] for s in frame_set.skeletons]
            keypoints.append(np.concatenate([np.array(seen), np.ones((len(seen), 17, 1))], axis=2))
        found = Estimate(frame_set.skeletons, keypoints, rig.names, {"detector": 3.0, "poses": 1.0})
        agreement.append(report.add(found))
        watch.add(found, agreement[-1], frame_set.stamp)
    cameras = watch.findings()
    warnings = [*warnings, *(finding.line for finding in cameras)]
    return Run(rig, shown, report, agreement, ["rig           a rig"], warnings, cameras, judged)


def page_of(run, tmp_path):
    write_report_page(tmp_path / "report.html", run)
    return (tmp_path / "report.html").read_text()


def test_agreement_of_each_camera(rig):
    agreement = run_of(rig, {0: walk(4)}, (2.0, 0.0, 5.0)).agreement
    assert [len(row) for row in agreement] == [3] * 4
    for row in agreement:
        assert [view.px for view in row] == pytest.approx([2.0, 0.0, 5.0], abs=0.01)
        assert row[0].share == pytest.approx(0.4 * row[2].share, rel=0.3)
        assert (row[0].detected, row[0].in_view, row[0].paired) == (1, 1, 1)


def test_bone_lengths_and_how_steady_they_are():
    joints = walk(200)
    elbow, wrist = COCO17.index("left_elbow"), COCO17.index("left_wrist")
    along = (joints[:, wrist] - joints[:, elbow]) / 260.0
    joints[:, wrist] += along * np.random.default_rng(0).normal(0, 13.0, (200, 1))
    shown = recording({0: joints})
    (person,) = people_of(shown)
    bones = dict(zip(bone_names(shown), bones_of(shown, person)))
    assert bones["left hip - left knee"].length == pytest.approx(430.0)
    assert bones["left hip - left knee"].spread == pytest.approx(0.0, abs=1e-6)
    assert bones["left elbow - left wrist"].spread == pytest.approx(0.05, rel=0.25)
    assert not any("eye" in name for name in bones)


def test_gaps():
    joints = walk(10)
    joints[4:7] = np.nan  # away
    joints[8, :4] = np.nan
    shown = recording({5: joints, 6: walk(3)}, rate_hz=10.0)
    first, second = people_of(shown)
    assert (first.track_id, second.track_id) == (5, 6)
    assert first.missing == pytest.approx((3 * 17 + 4) / 170)
    assert first.longest_gap_s(np.arange(10) / 10) == pytest.approx(0.4)
    assert second.missing == 0 and second.longest_gap_s(np.arange(10) / 10) == 0


def test_the_page_tells_good_from_bad(rig, tmp_path):
    text = page_of(run_of(rig, {0: walk(30)}), tmp_path)
    assert "verdict good" in text and "✓ Good" in text and "class=bad" not in text
    assert "0.0 px" in text and "100 %" in text and "± 0.0 %" in text
    unsure = page_of(run_of(rig, {0: walk(30)}, judged=False), tmp_path)
    assert "verdict unsure" in unsure and "People moved too little" in unsure
    warned = page_of(run_of(rig, {0: walk(30)}, warnings=["<i> looks wrong: type `a b`"]), tmp_path)
    assert "verdict warn" in warned and "⚠ 1 thing to look at" in warned
    assert "&lt;i&gt; looks wrong: type <code>a b</code>" in warned


def test_the_page_names_the_camera_that_is_wrong(rig, tmp_path):
    text = page_of(run_of(rig, {0: walk(30)}, (0.0, 30.0, 0.0)), tmp_path)
    words = r"\d+\.\d % of people&#x27;s size off"
    assert re.search(rf'verdict bad"><b>✗ Camera cam1: {words}</b>', text)
    assert re.search(rf"<tr class=bad><th>cam1<small>{words}</small></th>", text)
    assert text.count("class=bad") == 1 and "camera &#x27;cam1&#x27; disagrees with the skeletons" in text


@needs_browser
@pytest.mark.parametrize("bad", [False, True])
def test_the_verdict_stands_out(rig, bad, tmp_path):
    """Green on a light page where all is good, red on a dark one where a camera is wrong."""
    page_of(run_of(rig, {0: walk(30)}, (0.0, 30.0 * bad, 0.0)), tmp_path)
    picture = screenshot(tmp_path / "report.html", tmp_path, (700, 300), dark=bad)[40:120, 20:32].astype(int)
    assert (picture.mean() < 100) == bad
    redder = picture[..., 2] - picture[..., 1]
    assert redder.max() > 60 if bad else redder.min() < -20


@needs_browser
@pytest.mark.parametrize(
    "frame_sets", [[], [FrameSkeletons(0, 0.0, [])], [FrameSkeletons(i, i / 10, []) for i in range(3)]]
)
def test_without_people(rig, frame_sets, tmp_path):
    report = RunReport(rig)
    agreement = [report.add(Estimate([], [np.zeros((0, 17, 3)), None, None], ("cam0",))) for _ in frame_sets]
    text = page_of(Run(rig, Recording(COCO17, frame_sets, 10.0), report, agreement), tmp_path)
    assert "nan" not in text.split("<script")[0]
    assert evaluate(tmp_path / "report.html", tmp_path, 'answer(document.querySelector("h1").textContent)')


def test_a_long_recording_has_a_small_report(rig, tmp_path):
    joints = walk(6000)
    run = run_of(rig, {0: joints[:5]})
    times = np.arange(6000) / 60.0
    values = np.abs(np.sin(times)) * 10
    values[100:400] = np.nan
    assert len(charts.line_chart(times, values, 10.0)) < 5000
    assert len(charts.step_chart(times, [1] * 6000)) < 300
    at, middles = charts.binned(times, values)
    assert len(at) == 200 and np.isnan(middles[5:12]).all() and np.nanmax(middles) <= 10
    assert len(page_of(run, tmp_path)) < 100_000


@pytest.mark.parametrize(("largest", "top"), [(0.29, 0.3), (7, 8), (10, 10), (11, 15), (np.nan, 1), (0, 1)])
def test_round_tops(largest, top):
    assert charts.nice_top(largest) == pytest.approx(top)


def test_warnings_are_kept_while_asked_for(capsys):
    warn("before")
    with kept_warnings() as lines:
        warn("inside")
    warn("after")
    assert lines == ["inside"]


@needs_browser
def test_estimate_leaves_a_report(fake, rig_file, videos, tmp_path, capsys):  # noqa: F811
    page = tmp_path / "report.html"
    command = ("estimate", "--rig", rig_file, "--videos", *videos, "--out", tmp_path / "s.json")
    assert run(*command, "--report", page) == 0
    out = capsys.readouterr().out
    assert f"report        {page}" in out
    script = (
        'const pixels = document.querySelector("canvas").getContext("2d").getImageData(0, 0, 900, 400).data;'
        'const picture = document.querySelector("img");'
        'answer([document.querySelectorAll("h2").length, picture.naturalWidth > 600,'
        "pixels.some(v => v), document.querySelectorAll('svg .line').length].join(' '));"
    )
    assert evaluate(page, tmp_path, script) == "7 true true 3"
    assert "reprojection" in page.read_text() and not re.search(r"https?:|<link", page.read_text())


def test_a_report_of_another_ending_is_refused(fake, rig_file, videos, tmp_path, capsys):  # noqa: F811
    command = ("estimate", "--rig", rig_file, "--videos", *videos, "--out", tmp_path / "s.json")
    assert "ends in .html or .htm" in refused(capsys, *command, "--report", tmp_path / "a.pdf")
    assert "does not exist" in refused(capsys, *command, "--report", tmp_path / "none" / "a.html")
    assert not (tmp_path / "s.json").exists()
