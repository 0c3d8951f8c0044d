"""Checkpoints of the original VoxelPose load, say what matched, and execute nothing."""

import collections
import json
import os

import numpy as np
import pytest
import torch

from voxelpose_core.config import config_from_dict
from voxelpose_core.errors import InputError
from voxelpose_core.models.checkpoints import load_backbone, load_original, read_state
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.training.checkpoints import load_checkpoint

SMALL = {
    "BACKBONE_MODEL": "pose_resnet",
    "NETWORK": {"NUM_JOINTS": 15},
    "POSE_RESNET": {"NUM_LAYERS": 18, "NUM_DECONV_FILTERS": [8, 8, 8]},
    "PICT_STRUCT": {"CUBE_SIZE": [8, 8, 8]},
}


def make_model(seed=0, joints=15, **changes):
    torch.manual_seed(seed)
    data = {**SMALL, "NETWORK": {"NUM_JOINTS": joints}, **changes}
    return VoxelPose(config_from_dict(data, "test"))


@pytest.fixture(scope="module")
def theirs():
    return make_model(seed=1)


def prefixed(state, prefix="module."):
    return collections.OrderedDict((prefix + key, value) for key, value in state.items())


def same(first, second):
    return all(torch.equal(a, second[key]) for key, a in first.items())


def old_format(content, path):
    """Write as PyTorch before 1.6 and numpy before 2 did."""
    torch.save(content, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    new, old = b"numpy._core.multiarray\nscalar", b"numpy.core.multiarray\nscalar"
    path.write_bytes(data.replace(new, old))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("write", [torch.save, old_format])
def test_bare_state(theirs, tmp_path, prefix, write):
    """model_best.pth.tar and final_state.pth.tar."""
    path = tmp_path / "model_best.pth.tar"
    write(prefixed(theirs.state_dict(), prefix), path)
    ours = make_model()
    report = load_original(ours, path)
    assert same(theirs.state_dict(), ours.state_dict())
    assert len(report.loaded) == len(ours.state_dict())
    assert not (report.missing or report.unknown or report.adapted)
    assert str(report) == f"{path}: {len(report.loaded)} tensors loaded"


def test_whole_state(theirs, tmp_path):
    """checkpoint.pth.tar, whose best precision is a number of an old numpy."""
    path = tmp_path / "checkpoint.pth.tar"
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.5)
    content = {
        "epoch": 7,
        "state_dict": theirs.state_dict(),
        "precision": np.float64(0.83),
        "optimizer": optimizer.state_dict(),
    }
    old_format(content, path)
    assert b"numpy.core.multiarray" in path.read_bytes()
    ours = make_model()
    load_original(ours, path)
    assert same(theirs.state_dict(), ours.state_dict())
    ours, ours_optimizer = make_model(), torch.optim.Adam(make_model().parameters())
    progress = load_checkpoint(path, ours, ours_optimizer)
    assert (progress.epoch, progress.precision) == (7, 0.83)
    assert ours_optimizer.param_groups[0]["lr"] == 0.5
    assert same(theirs.state_dict(), ours.state_dict())


def test_names_of_the_original(shared_dir, tmp_path):
    """The keys and shapes of the original's own models are ours, in the same order."""
    for name, joints, backbone in (("campus32", 17, ""), ("panoptic", 15, "pose_resnet")):
        shapes = json.loads((shared_dir / "golden" / f"{name}_state_dict.json").read_text())
        data = {"BACKBONE_MODEL": backbone, "NETWORK": {"NUM_JOINTS": joints}}
        ours = VoxelPose(config_from_dict(data, "test")).state_dict()
        # An optimizer's state goes by the order of the parameters.
        assert list(shapes) == list(ours)
        assert [tuple(shape) for shape in shapes.values()] == [tuple(v.shape) for v in ours.values()]


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
def test_backbone_alone(theirs, tmp_path, prefix):
    """pose_resnet50_panoptic.pth.tar, or the backbone in a whole model."""
    path = tmp_path / "pose_resnet50_panoptic.pth.tar"
    torch.save(prefixed(theirs.backbone.state_dict(), prefix), path)
    ours = make_model()
    root_before = {k: v.clone() for k, v in ours.root_net.state_dict().items()}
    report = load_backbone(ours, path)
    assert same(theirs.backbone.state_dict(), ours.backbone.state_dict())
    assert same(root_before, ours.root_net.state_dict())
    assert not (report.missing or report.unknown)


@pytest.mark.parametrize("joints", [20, 3])
def test_backbone_for_other_joints(tmp_path, joints):
    """The first joints are taken over, as in the original; the others keep their own."""
    theirs = make_model(seed=1, joints=joints)
    path = tmp_path / "backbone.pth.tar"
    torch.save(theirs.backbone.state_dict(), path)
    ours = make_model()
    own = ours.backbone.final_layer.weight.detach().clone()
    report = load_backbone(ours, path)
    assert report.adapted == ("final_layer.weight", "final_layer.bias")
    assert "2 adapted (final_layer.weight, final_layer.bias)" in str(report)
    count = min(joints, 15)
    weight = ours.backbone.final_layer.weight
    assert torch.equal(weight[:count], theirs.backbone.final_layer.weight[:count])
    assert torch.equal(weight[count:], own[count:])


def test_imagenet_weights(theirs, tmp_path):
    """A classifier's ResNet has no deconvolutions, and a last layer that is not for us."""
    state = {
        key: value
        for key, value in theirs.backbone.state_dict().items()
        if not key.startswith(("deconv", "final"))
    }
    path = tmp_path / "resnet18.pth"
    torch.save({**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, path)
    ours = make_model()
    report = load_backbone(ours, path)
    assert same(state, ours.backbone.state_dict())
    assert report.unknown == ("fc.weight", "fc.bias")
    assert report.missing and all(k.startswith(("deconv", "final")) for k in report.missing)
    assert "2 unknown (fc.weight, fc.bias)" in str(report)


class Attack:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def refused(path, call):
    with pytest.raises(InputError) as caught:
        call(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_nothing_is_executed(tmp_path):
    path, trace = tmp_path / "model_best.pth.tar", tmp_path / "trace"
    torch.save({"state_dict": Attack(trace)}, path)
    assert "not opened" in refused(path, read_state)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "cannot be read"),
        (b"no checkpoint at all", "broken"),
        ({}, "no state dict"),
        ([1, 2], "no state dict"),
        ({"epoch": 3}, "'epoch' is no tensor"),
    ],
)
def test_no_checkpoint(tmp_path, content, words):
    path = tmp_path / "model_best.pth.tar"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    assert words in refused(path, read_state)


def test_missing_file(tmp_path):
    assert "no such file" in refused(tmp_path / "nowhere.pth.tar", read_state)


def test_truncated_file(theirs, tmp_path):
    path = tmp_path / "model_best.pth.tar"
    torch.save(theirs.state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(path, read_state)


def test_another_model(theirs, tmp_path):
    path = tmp_path / "model_best.pth.tar"
    state = dict(theirs.state_dict())
    torch.save(state, path)
    message = refused(path, lambda p: load_original(make_model(joints=17), p))
    assert "(15, 256" in message or "shape" in message
    del state["pose_net.v2v_net.output_layer.bias"]
    torch.save(state, path)
    assert "pose_net.v2v_net.output_layer.bias" in refused(path, lambda p: load_original(make_model(), p))
    torch.save(theirs.backbone.state_dict(), path)
    assert "missing" in refused(path, lambda p: load_original(make_model(), p))
    assert "BACKBONE_MODEL" in refused(path, lambda p: load_backbone(make_model(BACKBONE_MODEL=""), p))
    torch.save({"a": torch.zeros(1)}, path)
    assert "nothing in it fits" in refused(path, lambda p: load_backbone(make_model(), p))


def test_a_refused_checkpoint_changes_nothing(theirs, tmp_path):
    path = tmp_path / "model_best.pth.tar"
    key = "pose_net.v2v_net.output_layer.bias"
    whole = dict(theirs.state_dict())
    without = {k: v for k, v in whole.items() if k != key}
    ours = make_model()
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    for state in (without, {**whole, key: torch.zeros(3)}):
        torch.save(state, path)
        assert key in refused(path, lambda p: load_original(ours, p))
        assert same(before, ours.state_dict())
