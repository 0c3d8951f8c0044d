"""Outputs are refused before the work, where they would fail or replace what is read or written."""

import os

import numpy as np
import pytest

from voxelpose_core.cli import main
from voxelpose_core.drawing.files import VideoWriter
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.output_files import PICTURES, check_outputs
from voxelpose_core.resources import find_resource

RIG = find_resource("config/rigs/campus.yaml")


def test_outputs_that_can_be_written_pass(tmp_path):
    check_outputs({"--out": tmp_path / "a.json", "--picture": None}, [tmp_path / "in.mp4"])


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({"--out": "in.mp4"}, r"--out .*in\.mp4: is the input as well"),
        ({"--out": "sub/../in.mp4"}, "is the input as well"),
        ({"--out": "a.json", "--video-out": "a.json"}, r"--video-out .*a\.json: is --out as well"),
        ({"--picture": "a.xyz"}, r"--picture .*a\.xyz: expected a file that ends in \.png"),
        ({"--out": "none/a.json"}, r"--out .*none/a\.json: folder '.*none' does not exist; mkdir -p .*none$"),
        ({"--out": "no ne/a.json"}, "; mkdir -p '.*no ne'$"),
        ({"--out": "sub"}, "is a folder, expected a file"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused(outputs, expected, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "in.mp4").write_bytes(b"video")
    outputs = {option: tmp_path / path for option, path in outputs.items()}
    with pytest.raises(InputError, match=expected):
        check_outputs(outputs, [tmp_path / "in.mp4"], {"--picture": PICTURES})


def test_what_lies_in_a_folder_that_is_read_is_not_replaced(tmp_path):
    """A bag, images or 2D detections that are given as a folder."""
    inside = tmp_path / "recording" / "deep" / "bag.mcap"
    inside.parent.mkdir(parents=True)
    check_outputs({"--out": inside}, [tmp_path / "recording"])
    inside.write_bytes(b"messages")
    with pytest.raises(InputError, match=r"--out .*bag\.mcap: is there already, in the folder .*recording"):
        check_outputs({"--out": inside}, [tmp_path / "recording"])


def test_standard_output_is_refused():
    with pytest.raises(InputError, match="--out -: standard output is not supported"):
        check_outputs({"--out": ["-"]})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="no permission"):
        check_outputs({"--out": tmp_path / "a.json"})


def test_a_calibration_is_not_replaced_by_its_conversion(tmp_path, capsys):
    rig = tmp_path / "rig.yaml"
    rig.write_text(RIG.read_text())
    before = rig.read_text()
    assert main(["rig", "convert", str(rig), str(rig)]) == 2
    assert "is the input as well" in capsys.readouterr().err
    assert rig.read_text() == before


def test_a_frame_rate_for_videos_is_refused(tmp_path, capsys):
    command = ["estimate", "--rig", str(RIG), "--videos", "a.mp4", "--fps", "12"]
    assert main([*command, "--out", str(tmp_path / "o.json")]) == 2
    assert "--fps: videos have their own frame rate" in capsys.readouterr().err


def test_a_space_in_metres_is_refused_with_its_millimetres():
    with pytest.raises(InputError, match="were metres meant.* give 0,0,1000,4000,4000,2000"):
        Space.parse("0,0,1,4,4,2")


def test_a_video_that_was_not_finished_is_told(tmp_path):
    writer = VideoWriter(tmp_path / "v.mp4", 25.0)
    writer.write(np.zeros((32, 32, 3), np.uint8))
    # As on a full disk: what OpenCV wrote is not all there.
    (tmp_path / "v.mp4").unlink()
    with pytest.raises(InputError, match="could not be finished"):
        writer.close()


@pytest.mark.parametrize(
    "line", ["ground: true", "ground: [1]", "cameras: [{name: ''}]", "cameras: [{name: null}]"]
)
def test_values_of_a_wrong_type_in_a_rig_file_are_refused(line, tmp_path):
    rig = tmp_path / "rig.yaml"
    text = RIG.read_text()
    if line.startswith("ground"):
        text += line + "\n"
    else:
        text = text.replace("name: ", f"name: {line[17:-2]} #", 2)
    rig.write_text(text)
    with pytest.raises(InputError, match="expected a (number|word)"):
        load_rig(rig)
