"""Files that are broken, or made to do harm: refused with one line, or read as what they are."""

import json
import pickle
import random
import struct

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from test_rig import looking_at

from voxelpose_core.config import load_config
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig, load_rig, save_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.keypoint_files.ours import read_keypoints_json
from voxelpose_core.models.checkpoints import load_weights, read_state
from voxelpose_core.safe_yaml import MAX_VALUES, load_yaml
from voxelpose_core.skeleton_files import read_skeletons

LAUGHS = "a: &a [0, 0, 0, 0, 0, 0, 0, 0, 0]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefghij", "bcdefghijk")
)


def rig_of(cameras=3):
    places = [(4000, 0, 2000), (-2000, 3500, 2100), (-2000, -3500, 1900), (100, 4000, 2000)]
    found = tuple(looking_at(f"camera{i}", places[i]) for i in range(cameras))
    return Rig(found, Space((0, 0, 1000), (4000, 4000, 2000)), name="hall")


def refused(load, path):
    """The one line that refuses a file."""
    with pytest.raises(InputError) as caught:
        load(path)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    assert len(line) < 500 + len(str(path))
    return line


@pytest.fixture(params=[load_rig, load_config], ids=["rig", "config"])
def load(request):
    return request.param


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mkdir [{path}]",
        "!!python/object/new:os.mkdir [{path}]",
        "!!python/name:os.mkdir",
        "!!python/module:os",
        "!anything {{a: 1}}",
    ],
)
def test_yaml_tags_build_nothing(load, tag, tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text("cameras: " + tag.format(path=tmp_path / "harm") + "\n")
    assert "could not determine a constructor" in refused(load, path)
    assert not (tmp_path / "harm").exists()


def test_billion_laughs(load, tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text(LAUGHS)
    assert f"more than {MAX_VALUES} values, aliases counted in full" in refused(load, path)


@pytest.mark.parametrize("text", ["cameras: &a [*a]\n", "&a {cameras: *a}\n", "cameras: &a [[1, *a], 2]\n"])
def test_values_that_contain_themselves(load, text, tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text(text)
    assert "contains itself" in refused(load, path)


@pytest.mark.parametrize("start", ["[", "{"])
def test_nesting_without_end(load, start, tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text("cameras: " + (start + " ") * 50_000)
    assert "nested too deeply" in refused(load, path)


@pytest.mark.parametrize(
    ("load", "values", "said"),
    [
        (load_rig, 10_000_000, "has 19 MiB, expected at most 4 MiB"),
        (load_config, 10_000_000, f"more than {MAX_VALUES} values"),
    ],
)
def test_lists_of_millions(load, values, said, tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text("cameras: [" + "0," * values + "0]\n")
    assert said in refused(load, path)


def test_long_lists_in_json(tmp_path):
    path = tmp_path / "rig.json"
    path.write_text(json.dumps({"cameras": [0] * 1_000_000}))
    refused(load_rig, path)
    document = yaml.safe_load(saved(rig_of(), tmp_path).read_text())
    for key, value in (("K", [0.0] * 500_000), ("name", "x" * 10**6), ("image_size", [0] * 10**5)):
        changed = json.loads(json.dumps(document))
        changed["cameras"][1][key] = value
        path.write_text(json.dumps(changed))
        try:
            load_rig(path)
        except InputError as error:
            assert len(str(error)) < 1000


@pytest.mark.parametrize("number", ["9" * 5000, "2001-99-99", "1e999999", "0x" + "f" * 5000])
def test_numbers_beyond_any_use(load, number, tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text(f"cameras: [{number}, {number}]\n")
    refused(load, path)


def saved(rig, folder):
    path = folder / "good.yaml"
    save_rig(rig, path)
    return path


def test_aliases_as_programs_write_them_are_read(tmp_path):
    """PyYAML writes a list that occurs twice as an anchor and an alias."""
    document = yaml.safe_load(saved(rig_of(), tmp_path).read_text())
    for camera in document["cameras"]:
        camera["distortion"] = document["cameras"][0]["distortion"]
    path = tmp_path / "shared.yaml"
    path.write_text(yaml.safe_dump(document))
    assert "*id001" in path.read_text()
    assert len(load_rig(path)) == 3
    assert load_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}


def test_a_space_that_no_memory_holds(tmp_path):
    from voxelpose_core.voxel import fit_voxels

    with pytest.raises(InputError, match="voxels of 125 mm, expected at most"):
        fit_voxels((1e7, 1e7, 2000.0), 125.0)
    assert fit_voxels((8000.0, 8000.0, 2000.0), 125.0)[1] == (64, 64, 16)


@pytest.mark.parametrize("size", [(10**9, 10**9), (70_000, 10)])
def test_images_that_no_camera_takes(size, tmp_path):
    document = yaml.safe_load(saved(rig_of(), tmp_path).read_text())
    document["cameras"][2]["image_size"] = list(size)
    path = tmp_path / "rig.yaml"
    path.write_text(yaml.safe_dump(document))
    assert "camera 'camera2': image size is" in refused(load_rig, path)


@pytest.mark.parametrize(
    "override",
    [
        "NETWORK.HEATMAP_SIZE=[1000000, 1000000]",
        "PICT_STRUCT.CUBE_SIZE=[4096, 4096, 4096]",
        "MULTI_PERSON.INITIAL_CUBE_SIZE=[0, 80, 20]",
        "NETWORK.NUM_JOINTS=1000000000",
        "POSE_RESNET.NUM_DECONV_FILTERS=[100000000, 256, 256]",
        "NETWORK.NUM_JOINTS=!!python/name:os.mkdir",
    ],
)
def test_configurations_that_no_memory_holds(override, tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text("")
    with pytest.raises(InputError) as caught:
        load_config(path, [override])
    assert override.split("=")[0].split(".")[1] in str(caught.value)
    assert "\n" not in str(caught.value)


# Weights ------------------------------------------------------------------------------------------


class Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("load", [load_weights, read_state], ids=["weights", "checkpoint"])
def test_pickles_are_not_opened(load, tmp_path):
    harm, path = tmp_path / "harm", tmp_path / "model.pth.tar"
    for write in (
        lambda: path.write_bytes(pickle.dumps(Harm(harm))),
        lambda: torch.save({"state_dict": Harm(harm)}, path),
        lambda: torch.save(Harm(harm), path, _use_new_zipfile_serialization=False),
    ):
        write()
        refused(load, path)
        assert not harm.exists()


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "no configuration inside"),
        ({"config": "{"}, "its configuration is no JSON"),
        ({"config": "[" * 100_000}, "its configuration is no JSON"),
        ({"config": "[1]"}, ""),
        ({"config": '{"NETWORK": {"NUM_JOINTS": 99999999}}'}, "NETWORK.NUM_JOINTS"),
        ({"config": '{"NETWORK": {"NUM_JOINTS": 17}}'}, "is missing"),
        ({"config": '{"__reduce__": "os.mkdir"}'}, "'__reduce__' is unknown"),
    ],
)
def test_weights_with_another_configuration_inside(metadata, said, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(3)}, path, metadata=metadata)
    assert said in refused(load_weights, path)


@pytest.mark.parametrize("length", [0, 1, 2**20, 2**40, 2**64 - 1])
def test_weights_whose_header_lies_about_its_length(length, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b'{"a": {}}')
    refused(load_weights, path)


# Everything, damaged at random --------------------------------------------------------------------


def rig_yaml(path):
    save_rig(rig_of(), path)


def rig_json(path):
    document = {}
    for index, camera in enumerate(rig_of().cameras):
        document[str(index)] = {
            "R": camera.R.tolist(),
            "T": camera.C.reshape(3, 1).tolist(),
            "fx": 900.0,
            "fy": 900.0,
            "cx": 640.0,
            "cy": 360.0,
            "k": [[0.0]] * 3,
            "p": [[0.0]] * 2,
        }
    path.write_text(json.dumps(document))


def skeletons(path):
    frame = {
        "frame": 0,
        "stamp": 0.0,
        "skeletons": [{"track_id": 1, "score": 0.5, "joints": [[0.1, 0.2, 0.3, 0.9]] * 17}],
    }
    document = {"joint_set": "coco17", "unit": "m", "frames": [frame] * 3}
    path.write_text(json.dumps(document))


def keypoints(path):
    people = [{"pred": [[10.0, 20.0, 0.5]] * 17}]
    path.write_text(json.dumps({f"{camera}_{frame}": people for camera in "012" for frame in "01"}))


def checkpoint(path):
    state = {f"layer{i}.weight": torch.ones(4, 3) for i in range(4)}
    torch.save({"epoch": 3, "state_dict": state, "precision": np.float64(0.5)}, path)


def old_checkpoint(path):
    state = {f"layer{i}.weight": torch.ones(4, 3) for i in range(4)}
    torch.save(state, path, _use_new_zipfile_serialization=False)


def weights(path):
    save_file({"a": torch.zeros(3)}, path, metadata={"config": '{"GPUS": "0"}'})


def config(path):
    path.write_text("NETWORK:\n  NUM_JOINTS: 17\n  HEATMAP_SIZE: [240, 136]\nGPUS: '0,1'\n")


def damaged(content, source):
    """The content cut off, overwritten, doubled, or spliced somewhere."""
    content = bytearray(content)
    for _ in range(source.choice((1, 1, 3))):
        first, second = sorted(source.randrange(len(content) + 1) for _ in range(2))
        kind = source.randrange(5)
        if kind == 0:
            del content[first:]
        elif kind == 1 and first < len(content):
            content[first] = source.randrange(256)
        elif kind == 2:
            content[first:first] = content[first : min(second, first + 64)]
        elif kind == 3:
            content[first:first] = bytes(source.choices(b'-0179e.,:"[]{}!&*<>\x00\xff ', k=3))
        else:
            del content[first : first + source.randrange(1, 20)]
        if not content:
            break
    return bytes(content)


@pytest.mark.parametrize(
    ("write", "load", "count"),
    [
        (rig_yaml, load_rig, 60),
        (rig_json, lambda path: load_rig(path, image_size=(1280, 720)), 200),
        (config, load_config, 200),
        (skeletons, read_skeletons, 400),
        (keypoints, lambda path: read_keypoints_json(path, 3), 400),
        (checkpoint, read_state, 200),
        (old_checkpoint, read_state, 200),
        (weights, load_weights, 100),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damage_is_refused_in_one_line_or_harmless(write, load, count, tmp_path):
    path = tmp_path / "file"
    write(path)
    content = path.read_bytes()
    source = random.Random(write.__name__)
    refusals = 0
    for _ in range(count):
        path.write_bytes(damaged(content, source))
        try:
            load(path)
        except InputError as error:
            assert "\n" not in str(error) and str(path) in str(error)
            assert len(str(error)) < 1000
            refusals += 1
    assert refusals > count / 5
