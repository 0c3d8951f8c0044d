"""Videos and folders find their cameras by name; contradictions are told; so are views that do not fit."""

from pathlib import Path

import numpy as np
import pytest

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.source_matching import ViewWatch, correction, match_sources
from voxelpose_core.view_check import Contradiction


def rig_of(*names):
    K = [[500, 0, 320], [0, 500, 240], [0, 0, 1]]
    return Rig(
        tuple(
            Camera(name, (640, 480), K, [0] * 5, np.eye(3), [1000.0 * i, 0, 0])
            for i, name in enumerate(names)
        )
    )


def matched(given, *names, **options):
    found = match_sources(given, rig_of(*names), "--videos", **options)
    return [str(path) for path in found.paths], found.note


@pytest.mark.parametrize(
    "given, names",
    [
        (["cam02.mp4", "cam01.mp4"], ["cam01", "cam02"]),
        (["trial_cam02.avi", "trial-CAM01.avi"], ["cam01", "cam02"]),
        (["rec/cam02/images", "rec/cam01/images"], ["cam01", "cam02"]),
        (["00_06/", "00_03/"], ["00_03", "00_06"]),
        (["cam1_left.mp4", "cam1.mp4"], ["cam1", "cam1_left"]),
        (["port_1.mp4", "port_0.mp4"], ["0", "1"]),
        (["Miqus_2_35441.avi", "Miqus_1_35440.avi"], ["35440", "35441"]),
    ],
)
def test_names_decide(given, names):
    paths, note = matched(given, *names)
    assert paths == [str(Path(path)) for path in given[::-1]]
    assert note.startswith("--videos: matched with the cameras by their names: ")
    assert f"{Path(given[1]).name} is for '{names[0]}'" in note and note.endswith("(--in-order: as given)")
    assert matched(given[::-1], *names) == (paths, None)


def test_in_order_ignores_names():
    assert matched(["cam02.mp4", "cam01.mp4"], "cam01", "cam02", in_order=True) == (
        ["cam02.mp4", "cam01.mp4"],
        None,
    )


@pytest.mark.parametrize(
    "given, names",
    [
        (["a.mp4", "b.mp4"], ["left", "right"]),
        (["b.mp4", "a.mp4"], ["left", "right"]),
        (["view1.mp4", "view2.mp4"], ["left", "right"]),
        # Files count from 1, cameras from 0.
        (["cam1.mp4", "cam2.mp4", "cam3.mp4"], ["0", "1", "2"]),
        (["cam1.mp4", "other.mp4"], ["cam1", "cam2"]),
    ],
)
def test_else_the_given_order_stays(given, names):
    assert matched(given, *names) == (given, None)


def test_what_a_shell_sorted_is_sorted_naturally():
    given = [f"view{n}.mp4" for n in (1, 10, 11, 2, 3)]
    paths, note = matched(given, *"abcde")
    assert paths == [f"view{n}.mp4" for n in (1, 2, 3, 10, 11)]
    assert "in natural order: view2.mp4 is for 'b', view3.mp4 is for 'c', view10.mp4 is for 'd'" in note


def test_numbers_against_the_order_are_told():
    paths, note = matched(["view2.mp4", "view1.mp4"], "left", "right")
    assert paths == ["view2.mp4", "view1.mp4"]
    assert note == (
        "--videos: the numbers in view2, view1 are not in order; taken as given, for the cameras left, right"
    )


@pytest.mark.parametrize(
    "given", [["cam2.mp4", "other.mp4", "x.mp4"], ["cam2.mp4", "cam2_b.mp4", "cam3.mp4"]]
)
def test_names_that_contradict_the_order_are_refused(given):
    with pytest.raises(InputError) as error:
        matched(given, "cam1", "cam2", "cam3")
    assert str(error.value).startswith(
        "--videos: 'cam2' is given for camera 'cam1', but has the name of camera 'cam2': "
    )
    assert "--in-order" in str(error.value)


def test_the_cameras_to_select_are_named():
    with pytest.raises(InputError, match="2 videos given for a rig of 3 .*these are --cameras cam1 cam3$"):
        matched(["cam3.mp4", "cam1.mp4"], "cam1", "cam2", "cam3")
    with pytest.raises(InputError, match="2 videos given for a rig of 3 .*--cameras selects some$"):
        matched(["x.mp4", "y.mp4"], "cam1", "cam2", "cam3")


def found(cameras, turns=(0, 0, 0)):
    return Contradiction(("a", "b", "c"), cameras, turns, 70.0, 15.0)


def test_what_to_type():
    given = [Path("x.mp4"), Path("y.mp4"), Path("z.mp4")]
    # What is given for a fits b, b's fits c, c's fits a.
    assert correction(found((1, 2, 0)), "--videos", given) == "give --in-order --videos z.mp4 x.mp4 y.mp4"
    assert correction(found((1, 2, 0)), "--keypoints", None) == "give --cameras b c a"
    assert correction(found((0, 1, 2), (0, 2, 0)), "--videos", given).startswith("turn them back")


class KnownCheck:
    """In place of a ViewCheck: finds the exchange once it has seen ten frame sets."""

    def __init__(self, rig):
        self.count = 0

    def add(self, keypoints, stamp):
        self.count += 1

    def finish(self):
        pass

    def contradiction(self, new_frame_sets=1):
        return found((1, 0, 2)) if self.count >= 10 else None


def test_a_contradiction_is_told_once_meanwhile_and_at_the_end(monkeypatch):
    monkeypatch.setattr("voxelpose_core.source_matching.ViewCheck", KnownCheck)
    lines, rig = [], rig_of("a", "b", "c")
    watch = ViewWatch(rig, "--keypoints", None, lines.append)
    for index in range(30):
        watch.add([], index)
        assert len(lines) == (index >= 9)
    watch.finish()
    assert (
        lines
        == [
            "cameras 'a' and 'b' look exchanged: 2D detections of different views disagree by 70 px as "
            "given, by 15 px if that is undone; give --cameras b a c"
        ]
        * 2
    )
    strict = ViewWatch(rig, "--keypoints", None, lines.append, strict=True)
    with pytest.raises(InputError, match="look exchanged"):
        for index in range(30):
            strict.add([], index)
