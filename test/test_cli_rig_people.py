"""`voxelpose rig diagnose`, `align` and `refine` on people whose truth is known."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from voxelpose_core import cli
from voxelpose_core.command_line import rig_people
from voxelpose_core.generated_motion import random_walks
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_turns import turn_points
from voxelpose_core.geometry.rig import Rig, load_rig, save_rig
from voxelpose_core.self_calibration.alignment import Similarity

FPS = 15.0
SIZE = (800, 600)


def rig_of(count=3):
    """Cameras around the origin, unequally spread."""
    cameras = []
    for index in range(count):
        angle = 2 * np.pi * (index + 0.2 * (index % 2)) / max(count, 3)
        center = np.array([4200 * np.cos(angle), 4200 * np.sin(angle), 1500.0 + 300 * (index % 3)])
        forward = np.array([0, 0, 900.0]) - center
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        K = np.array([[560.0, 0, SIZE[0] / 2], [0, 560, SIZE[1] / 2], [0, 0, 1.0]])
        cameras.append(Camera(f"cam{index}", SIZE, K, [-0.05, 0.01, 0, 0, 0], R, center))
    return Rig(tuple(cameras), name="hall")


RIG = rig_of()


def record(rig, seconds=7.0, people=1, late_frames=(), seed=3):
    """{camera: [people of each frame]} of detections with noise; `late_frames` per camera."""
    random = np.random.default_rng(seed)
    rate = 60.0
    walks = random_walks(people, rate, seconds + 2.0, seed, room_mm=3500.0)
    step = round(rate / FPS)
    views = []
    for index, camera in enumerate(rig.cameras):
        late = late_frames[index] if late_frames else 0
        frames = []
        for time in range(int(seconds * FPS)):
            own = []
            for joints in walks[(time + late + 4) * step]:
                pixels = camera.project(joints)[0] + random.normal(0, 2.0, (17, 2))
                scores = 0.8 * camera.sees(joints)
                own.append(np.column_stack([pixels * (scores > 0)[:, None], scores]))
            frames.append(np.array(own))
        views.append(frames)
    return views


def write_keypoints(path, views):
    content = {
        f"{camera}_{frame}": [{"pred": person.round(2).tolist()} for person in people]
        for camera, frames in enumerate(views)
        for frame, people in enumerate(frames)
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def here(tmp_path):
    """Writes rig and keypoints, and runs a command on them."""

    class Folder:
        path = tmp_path

        def run(self, action, rig, views, *options):
            save_rig(rig, tmp_path / "rig.yaml")
            keypoints = write_keypoints(tmp_path / "keypoints.json", views)
            words = ["rig", action, str(tmp_path / "rig.yaml"), "--keypoints", str(keypoints)]
            return cli.main([*words, "--fps", str(FPS), *map(str, options)])

        def rig(self, name="new.yaml"):
            return load_rig(tmp_path / name)

    return Folder()


def knocked(rig, view, degrees):
    """The rig with one camera turned."""
    cameras = list(rig.cameras)
    turn = Rotation.from_rotvec(np.radians(degrees) * np.array([0.5, 0.8, 0.33])).as_matrix()
    cameras[view] = dataclasses.replace(cameras[view], R=turn @ cameras[view].R)
    return dataclasses.replace(rig, cameras=tuple(cameras))


def test_a_right_rig_is_well(here, capsys):
    picture, report = here.path / "picture.png", here.path / "report.json"
    assert here.run("diagnose", RIG, record(RIG), "--picture", picture, "--report", report) == 0
    out = capsys.readouterr().out
    assert "nothing is wrong" in out and "fault" not in out and "not known" not in out
    assert cv2.imread(str(picture)).shape == (1000, 1920, 3)
    content = json.loads(report.read_text())
    assert content["well"] and len(content["cameras"]) == 3
    assert max(abs(offset) for offset in content["offsets_ms"]) < 5
    assert content["cameras"][0]["share"] < 0.02
    assert abs(content["floor"]["height_mm"]) < 30


def test_late_and_exchanged_views_are_put_right(here, capsys):
    views = record(RIG, late_frames=(0, 0, 2))
    exchanged = [views[1], views[0], views[2]]
    assert here.run("diagnose", RIG, exchanged) == 1
    out = capsys.readouterr().out
    assert "cameras 'cam0' and 'cam1' look exchanged" in out
    assert "give --cameras cam1 cam0 cam2" in out
    (line,) = [line for line in out.splitlines() if "out of sync" in line]
    assert "camera 'cam2'" in line
    offset = float(line.split("--offsets-ms ")[1].split(",")[2])
    # cam2 shows two frames later than its number says.
    assert abs(offset - 2000 / FPS) < 8
    given = ",".join(line.split("--offsets-ms ")[1].split(","))
    assert here.run("diagnose", RIG, views, "--offsets-ms", given) == 0


def test_videos_in_the_wrong_order_get_the_line_to_paste(here):
    from voxelpose_core.source_matching import correction
    from voxelpose_core.view_check import Contradiction

    found = Contradiction(("a", "b"), (1, 0), (0, 0), 9.0, 1.0)
    assert correction(found, "--videos", ["x.mp4", "y.mp4"]) == "give --in-order --videos y.mp4 x.mp4"


def test_turned_and_mirrored_images_are_named(here, capsys):
    views = record(RIG)
    camera = RIG.cameras[1]
    turned = [
        np.concatenate([turn_points(p[..., :2], camera.image_size, 2), p[..., 2:]], axis=-1)
        * (p[..., 2:] > 0)
        for p in views[1]
    ]
    assert here.run("diagnose", RIG, [views[0], turned, views[2]]) == 1
    assert "images of camera 'cam1' look turned by 180 degrees" in capsys.readouterr().out
    from voxelpose_core.skeletons import COCO17

    mirrored = []
    for people in views[1]:
        flipped = people[:, list(COCO17.mirror)].copy()
        flipped[..., 0] = np.where(flipped[..., 2] > 0, SIZE[0] - 1 - flipped[..., 0], 0)
        mirrored.append(flipped)
    assert here.run("diagnose", RIG, [views[0], mirrored, views[2]]) == 1
    assert "images of camera 'cam1' are mirrored: left is right" in capsys.readouterr().out


def test_a_wrong_focal_length_is_named(here, capsys):
    rig = rig_of(4)
    views = record(rig)
    cameras = list(rig.cameras)
    K = cameras[2].K * np.array([[1.2], [1.2], [1.0]])
    K[:2, 2] = cameras[2].K[:2, 2]
    cameras[2] = dataclasses.replace(cameras[2], K=K)
    assert here.run("diagnose", dataclasses.replace(rig, cameras=tuple(cameras)), views) == 1
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "focal length" in line]
    assert "camera 'cam2': its focal length is given as 672 px, people fit 5" in line


def test_no_person_and_a_person_who_stands_still(here, capsys):
    nobody = [[np.zeros((0, 17, 3))] * 100] * 3
    assert here.run("diagnose", RIG, nobody) == 2
    assert "no person is in view of any camera" in capsys.readouterr().err
    views = record(RIG)
    still = [
        [
            frames[20] + np.random.default_rng(i).normal(0, 1.5, frames[20].shape) * [1, 1, 0]
            for i in range(90)
        ]
        for frames in views
    ]
    assert here.run("diagnose", RIG, still) == 3
    out = capsys.readouterr().out
    assert "not known     people hardly move" in out and "fault" not in out
    assert here.run("refine", RIG, still, "--out", here.path / "new.yaml") == 1
    assert "people hardly move" in capsys.readouterr().err
    assert not (here.path / "new.yaml").exists()


def test_a_camera_that_shares_nobody_is_named(here, capsys):
    views = record(RIG)
    empty = [views[0], views[1], [np.zeros((0, 17, 3))] * len(views[2])]
    assert here.run("diagnose", RIG, empty) == 1
    assert "camera 'cam2': no person is in view in the whole recording" in capsys.readouterr().out
    alternating = [
        [p if (frame < len(frames) // 2) == (view < 2) else p[:0] for frame, p in enumerate(frames)]
        for view, frames in enumerate(views)
    ]
    assert here.run("diagnose", RIG, alternating) == 1
    assert "camera 'cam2': never sees a person that another camera sees" in capsys.readouterr().out


def test_align_gives_any_world_floor_origin_and_unit(here, capsys):
    rotation = Rotation.from_euler("xyz", [100, 20, 30], degrees=True).as_matrix()
    filed = Similarity(rotation, 0.01, np.array([1.0, 2, 3])).rig(RIG)
    apart = float(np.linalg.norm(RIG.cameras[0].C - RIG.cameras[1].C))
    out = here.path / "new.yaml"
    assert here.run("align", filed, record(RIG), "--out", out) == 2
    assert "the unit of this world is not mm: give --height" in capsys.readouterr().err
    assert not out.exists()
    picture = here.path / "align.png"
    unit = ("--distance", "cam0", "cam1", apart)
    assert here.run("align", filed, record(RIG), "--out", out, "--picture", picture, *unit) == 0
    assert picture.exists()
    text = capsys.readouterr().out
    assert "1 unit of the given world is 100 mm" in text and "now at" in text
    for camera, true in zip(here.rig().cameras, RIG.cameras, strict=True):
        assert abs(camera.C[2] - true.C[2]) < 40
        up = camera.R @ [0, 0, 1]
        assert np.degrees(np.arccos(up @ (true.R @ [0, 0, 1]))) < 0.8


def test_align_to_points_needs_nobody(here, capsys):
    points = here.path / "points.json"
    places = {"a": [0, 0, 40], "b": [1000, 0, 40], "c": [0, 900, 40]}
    points.write_text(json.dumps({"points": places}))
    save_rig(RIG, here.path / "rig.yaml")
    words = ["rig", "align", str(here.path / "rig.yaml"), "--out", str(here.path / "new.yaml")]
    assert cli.main([*words, "--ground-from", str(points)]) == 0
    assert here.rig().cameras[0].C[2] == pytest.approx(RIG.cameras[0].C[2] - 40)
    assert cli.main(words) == 2
    assert "expected people (--videos" in capsys.readouterr().err
    assert cli.main([*words, "--ground-from", "tape"]) == 2
    assert cli.main([*words, "--ground-from", str(points), "--height", "1700"]) == 2
    assert cli.main([*words, "--ground-from", "chessboard:6x5:100"]) == 2
    assert "expected --videos or --images that show it" in capsys.readouterr().err


def test_refine_mends_a_knocked_camera_and_leaves_a_right_rig(here, capsys):
    """Also: it may replace the rig that it is told to, and that only."""
    rig = rig_of(4)
    views, out, picture = record(rig, seconds=12.0), here.path / "rig.yaml", here.path / "refine.png"
    assert here.run("refine", knocked(rig, 2, 2.0), views, "--out", out, "--picture", picture) == 0
    text = capsys.readouterr().out
    assert "cam2  moves" in text and "disagreement" in text and picture.exists()
    new = here.rig("rig.yaml").cameras[2]
    turned = Rotation.from_matrix(new.R @ rig.cameras[2].R.T).magnitude()
    assert np.degrees(turned) < 0.5
    # The world, with its floor, is held by the cameras that were not knocked.
    for view in (0, 1, 3):
        own, true = here.rig("rig.yaml").cameras[view], rig.cameras[view]
        assert np.degrees(Rotation.from_matrix(own.R @ true.R.T).magnitude()) < 0.3
        assert np.linalg.norm(own.C - true.C) < 20.0
    out = here.path / "new.yaml"
    assert here.run("refine", rig, views, "--out", out) == 1
    assert "nothing is written" in capsys.readouterr().err and not out.exists()


def test_exchanged_views_are_refused_before_anything_is_measured(here, capsys):
    views = record(RIG)
    exchanged = [views[1], views[0], views[2]]
    for action in ("align", "refine"):
        assert here.run(action, RIG, exchanged, "--out", here.path / "new.yaml") == 2
        err = capsys.readouterr().err
        assert "look exchanged" in err and "give --cameras cam1 cam0 cam2" in err
    assert not (here.path / "new.yaml").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--height", "1.75"], "expected the height of people in mm, 500 to 2500"),
        (["--distance", "cam0", "cam1", "far"], "--distance: 'far', expected millimetres"),
        (
            ["--distance", "cam0", "cam1", "3.2"],
            "--distance: '3.2', expected the distance of two cameras in mm",
        ),
        (["--distance", "cam0", "cam9", "3200"], "--distance: camera 'cam9' is not in rig"),
        (["--distance", "cam0", "cam0", "3200"], "--distance: camera 'cam0' appears twice"),
        (["--seconds", "0"], "expected seconds, above 0"),
    ],
)
def test_bad_options_are_named(here, capsys, options, message):
    views = [frames[:3] for frames in record(RIG, seconds=1.0)]
    try:
        code = here.run("align", RIG, views, "--out", here.path / "new.yaml", *options)
    except SystemExit as ended:
        code = ended.code
    assert code == 2 and message in capsys.readouterr().err


def test_from_people_checks_the_names_of_a_distance_before_it_detects_people(here, capsys, monkeypatch):
    keypoints = write_keypoints(
        here.path / "keypoints.json", [frames[:3] for frames in record(RIG, seconds=1.0)]
    )
    save_rig(RIG, here.path / "lenses.yaml")
    monkeypatch.setattr(rig_people, "record", None)
    words = ["rig", "from-people", "--keypoints", str(keypoints), "--out", str(here.path / "new.yaml")]
    words += ["--intrinsics", str(here.path / "lenses.yaml"), "--distance", "cam0", "left", "3200"]
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert "--distance: camera 'left' is not in rig" in err and "expected one of cam0, cam1, cam2" in err


def test_from_people_gives_a_rig_or_says_why_not(here, capsys):
    rig, out, picture = rig_of(4), here.path / "new.yaml", here.path / "new.png"
    keypoints = write_keypoints(here.path / "keypoints.json", record(rig, seconds=12.0))
    save_rig(rig, here.path / "lenses.yaml")
    words = ["rig", "from-people", "--keypoints", str(keypoints), "--fps", str(FPS), "--out", str(out)]
    assert cli.main([*words, "--height", "1750"]) == 2
    assert "expected --intrinsics" in capsys.readouterr().err
    lenses = ["--intrinsics", str(here.path / "lenses.yaml"), "--picture", str(picture)]
    assert cli.main([*words, *lenses, "--height", "1750"]) == 0
    text = capsys.readouterr().out
    assert "cameras       cam0  at" in text and "1.75 m tall" in text and picture.exists()
    for camera, true in zip(here.rig().cameras, rig.cameras, strict=True):
        assert abs(camera.C[2] - true.C[2]) < 0.1 * true.C[2]


def test_from_people_guesses_lenses_from_videos(here, capsys):
    """Of an empty room: nothing to go by, but the cameras are named after the videos."""
    paths = []
    for name in ("left", "right"):
        paths.append(str(here.path / f"{name}.mp4"))
        writer = cv2.VideoWriter(paths[-1], cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (160, 120))
        for _ in range(3):
            writer.write(np.zeros((120, 160, 3), np.uint8))
        writer.release()
    assert cli.main(["rig", "from-people", "--videos", *paths, "--out", str(here.path / "new.yaml")]) == 2
    assert "in view of any camera" in capsys.readouterr().err
    assert not (here.path / "new.yaml").exists()
