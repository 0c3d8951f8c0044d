"""Weights keep their configuration; broken or foreign files are refused with one line."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from voxelpose_core.config import config_from_dict
from voxelpose_core.errors import InputError
from voxelpose_core.models.checkpoints import load_weights, save_weights
from voxelpose_core.models.voxelpose import VoxelPose

TINY = {
    "NETWORK": {"NUM_JOINTS": 17},
    "MULTI_PERSON": {"VOXEL_PITCH": 125.0},
    "PICT_STRUCT": {"CUBE_SIZE": [8, 8, 8]},
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return VoxelPose(config_from_dict(TINY, "test")).eval()


def test_round_trip(model, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(model, path, {"steps": 3})
    loaded = load_weights(path)
    assert loaded.config == model.config
    assert not loaded.training
    assert json.loads(safe_open(path, "pt").metadata()["notes"]) == {"steps": 3}
    for key, value in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(loaded.state_dict()[key], value)
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]
    # As readable as any other new file.
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_half_precision_kernels(model, tmp_path):
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    save_weights(model, full)
    save_weights(model, half, half=True)
    assert half.stat().st_size < 0.52 * full.stat().st_size
    loaded = load_weights(half).state_dict()
    for key, value in load_weights(full).state_dict().items():
        assert loaded[key].dtype == value.dtype
        torch.testing.assert_close(loaded[key], value, rtol=1e-3, atol=1e-6)


def refused(path):
    with pytest.raises(InputError) as caught:
        load_weights(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_file(tmp_path):
    assert "no such file" in refused(tmp_path / "nothing.safetensors")


def test_truncated_file(model, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(model, path)
    path.write_bytes(path.read_bytes()[:5000])
    refused(path)


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "weights.safetensors"
    torch.save({"a": torch.zeros(1)}, path)
    refused(path)


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    assert "configuration" in refused(path)


@pytest.mark.parametrize("change", ["missing", "shape", "extra"])
def test_state_that_does_not_fit(model, tmp_path, change):
    path = tmp_path / "weights.safetensors"
    save_weights(model, path)
    with safe_open(path, framework="pt") as file:
        metadata, state = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}
    key = "pose_net.v2v_net.output_layer.bias"
    if change == "missing":
        del state[key]
    elif change == "shape":
        state[key] = torch.zeros(3)
    else:
        state["head.bias"] = torch.zeros(3)
    save_file(state, path, metadata=metadata)
    assert ("head.bias" if change == "extra" else key) in refused(path)
