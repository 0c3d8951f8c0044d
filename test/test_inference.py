"""The networks made fast for inference answer as the trained ones."""

import numpy as np
import pytest
import torch
from torch import nn

from voxelpose_core.config import config_from_dict
from voxelpose_core.models import inference
from voxelpose_core.models.checkpoints import load_weights
from voxelpose_core.models.inference import for_inference
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.resources import find_weights
from voxelpose_core.voxel import (
    Pointwise,
    bindings,
    box_points,
    output_scores,
    projection_shortcut,
    soft_argmax,
)

VOXELS = (16, 8, 12)


@pytest.fixture(scope="module")
def model():
    """Random weights and batch norm statistics."""
    config = config_from_dict({"NETWORK": {"NUM_JOINTS": 5}, "PICT_STRUCT": {"CUBE_SIZE": VOXELS}}, "test")
    torch.manual_seed(0)
    model = VoxelPose(config).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm3d):
                for tensor in (module.running_mean, module.bias):
                    tensor.normal_(0, 0.2)
                for tensor in (module.running_var, module.weight):
                    tensor.uniform_(0.6, 1.5)
        for net in (model.root_net, model.pose_net):
            net.v2v_net.output_layer.weight.normal_(0, 0.02)
    return model


@pytest.fixture
def volumes():
    return torch.rand(3, 5, *VOXELS, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("fused", [True, False])
def test_float32_gives_the_trained_network_s_answers(model, volumes, fused, monkeypatch):
    if not fused:
        monkeypatch.setattr(inference, "_fuses", lambda x: False)
    fast = for_inference(model, torch.float32)
    centers = torch.tensor([[0.0, 0, 0], [500, 600, 700], [-9000, 0, 1000]])
    with torch.inference_mode():
        expected = model.root_net(volumes)
        torch.testing.assert_close(fast.root_net(volumes), expected, rtol=1e-4, atol=1e-5)
        poses = model.pose_net(volumes, centers, (2000.0,) * 3)
        ours = fast.pose_net(volumes, centers, (2000.0,) * 3)
    assert (poses - centers[:, None]).norm(dim=-1).mean() > 50
    torch.testing.assert_close(ours, poses, rtol=0, atol=0.5)


def test_volumes_are_not_overwritten(model, volumes):
    before = volumes.clone()
    with torch.inference_mode():
        for_inference(model, torch.float32).root_net(volumes)
    assert torch.equal(volumes, before)


def test_bfloat16_is_near(model, volumes):
    fast = for_inference(model, torch.bfloat16)
    with torch.inference_mode():
        expected = model.root_net(volumes)
        ours = fast.root_net(volumes.bfloat16())
    assert ours.dtype == torch.float32
    assert (ours - expected).norm() < 0.03 * (expected - expected.mean()).norm()


def test_the_trained_model_stays_as_it_was(model, volumes):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fast = for_inference(model, torch.float32)
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert model.state_dict().keys() == before.keys()
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(p.requires_grad for p in model.parameters()) and model.volume_dtype is None


def test_shipped_weights_fold():
    model = load_weights(find_weights("voxelpose"))
    volumes = torch.rand(1, 17, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model.root_net(volumes)
        ours = for_inference(model, torch.float32).root_net(volumes)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("joints", [1, 17, 41])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["auto", bindings.REFERENCE])
def test_soft_argmax_is_the_mean_under_the_softmax(joints, dtype, kernel):
    generator = torch.Generator().manual_seed(joints)
    features = torch.randn(2, 32, 4, 6, 10, generator=generator).to(dtype)
    weight = 0.05 * torch.randn(joints, 32, generator=generator)
    bias = torch.randn(joints, generator=generator)
    size = (2000.0, 1500.0, 900.0)
    skip = torch.randn(2, 32, 4, 6, 10, generator=generator).to(dtype)
    summed = features.double().relu() + skip.double()
    scores = torch.einsum("jc,ncxyz->njxyz", weight.double(), summed)
    probability = torch.softmax(20.0 * (scores.flatten(2) + bias[:, None]), dim=-1)
    expected = probability @ box_points(torch.zeros(1, 3), size, (4, 6, 10))[0].double()
    with bindings.use(kernel):
        ours = soft_argmax(features, skip, Pointwise(20.0 * weight, 20.0 * bias), size)
        ours_scores = output_scores(features, skip, Pointwise(weight, bias))
    assert ours.shape == (2, joints, 3)
    np.testing.assert_allclose(ours, expected, atol=0.02)
    np.testing.assert_allclose(ours_scores, scores + bias[:, None, None, None], atol=1e-5)


@pytest.mark.parametrize("inner, outer", [(3, 1), (16, 32), (32, 64), (64, 128), (5, 41)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["auto", bindings.REFERENCE])
def test_a_projection_shortcut_is_added_before_the_relu(inner, outer, dtype, kernel):
    generator = torch.Generator().manual_seed(inner)
    last = {"memory_format": torch.channels_last_3d}
    x = torch.randn(2, inner, 3, 5, 7, generator=generator).to(dtype).contiguous(**last)
    branch = torch.randn(2, outer, 3, 5, 7, generator=generator).to(dtype).contiguous(**last)
    weight = torch.randn(outer, inner, generator=generator) / inner**0.5
    bias = torch.randn(outer, generator=generator)
    projected = torch.einsum("kc,ncxyz->nkxyz", weight.double(), x.double())
    expected = (branch.double() + projected + bias.double()[:, None, None, None]).relu()
    layer = Pointwise(weight, bias)
    with bindings.use(kernel):
        ours = projection_shortcut(branch.clone(**last), x, layer)
        plain_layout = projection_shortcut(branch.contiguous(), x.contiguous(), layer)
    assert ours.dtype == dtype
    # The result is rounded once, the weights never.
    digits = 2.0**-8 if dtype == torch.bfloat16 else 2.0**-20
    for answer in (ours, plain_layout):
        assert ((answer.double() - expected).abs() <= digits * expected + 1e-5).all()


def test_soft_argmax_of_extreme_scores_and_of_nobody():
    features = torch.zeros(1, 32, 4, 4, 4)
    features[0, 0, 1, 2, 3] = 1e4
    weight, bias = torch.zeros(3, 32), torch.tensor([1e3, -1e3, 0.0])
    weight[:, 0] = torch.tensor([1.0, 1.0, -1.0])
    skip = torch.zeros_like(features)
    layer = Pointwise(100.0 * weight, 100.0 * bias)
    offsets = soft_argmax(features, skip, layer, (300.0,) * 3)[0]
    torch.testing.assert_close(offsets[0], torch.tensor([-50.0, 50.0, 150.0]))
    torch.testing.assert_close(offsets[1], offsets[0])
    # All others share the third joint.
    torch.testing.assert_close(offsets[2], -offsets[0] / 63, atol=1e-3, rtol=0)
    nobody = soft_argmax(features[:0], skip[:0], layer, (300.0,) * 3)
    assert nobody.shape == (0, 3, 3)


def test_fused_operators_are_used_on_cpus_that_have_them(model, volumes, monkeypatch):
    if not inference._onednn_takes(torch.float32):
        pytest.skip(f"PyTorch {torch.__version__} has no fused 3D convolutions")
    answers = []
    fuses = inference._fuses
    monkeypatch.setattr(inference, "_fuses", lambda x: answers.append(fuses(x)) or answers[-1])
    with torch.inference_mode():
        for_inference(model, torch.float32).root_net(volumes)
    convolutions = [m for m in model.root_net.modules() if isinstance(m, nn.Conv3d)]
    larger = [m for m in convolutions if m.kernel_size != (1, 1, 1)]
    assert answers == [True] * len(larger)


def test_a_pytorch_that_refuses_3d_weights_does_not_fuse(model, volumes, monkeypatch):
    # As 2.1, the oldest that is supported: it has the operator, for 2D weights.
    def refuse(*_):
        raise RuntimeError("expected padding to be a single integer value or a list of 2 values")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_convolution_weight", refuse, raising=False)
    inference._onednn_takes.cache_clear()
    try:
        with torch.inference_mode():
            answer = for_inference(model, torch.float32).root_net(volumes)
            expected = model.root_net(volumes)
        torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)
    finally:
        inference._onednn_takes.cache_clear()


@pytest.mark.parametrize("layers", [18, 50])
def test_a_folded_backbone_answers_as_the_trained_one(layers):
    torch.manual_seed(layers)
    network = {"NUM_JOINTS": 4}
    config = config_from_dict(
        {"NETWORK": network, "BACKBONE_MODEL": "pose_resnet", "POSE_RESNET": {"NUM_LAYERS": layers}},
        "test",
    )
    model = VoxelPose(config).eval()
    for module in model.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.7, 1.3)
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected = model.backbone(images)
        exact = for_inference(model, torch.float32).backbone
        near = for_inference(model, torch.bfloat16).backbone(images)
        torch.testing.assert_close(model.backbone(images), expected, rtol=0, atol=0)
        torch.testing.assert_close(exact(images), expected, rtol=1e-3, atol=1e-4 * expected.abs().max())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in exact.modules())
    assert near.dtype == torch.float32
    assert (near - expected).norm() < 0.05 * (expected - expected.mean()).norm()
