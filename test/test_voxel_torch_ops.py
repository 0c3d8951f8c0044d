"""The voxel op as PyTorch custom operators: torch.compile, torch.export and autograd see through."""

import dataclasses
import importlib

import pytest
import torch
from test_voxel_kernels import HEATMAP, boxes, in_process, scenes

from voxelpose_core.voxel import (
    bindings,
    feature_volumes,
    implementation,
    pack_heatmaps,
    sampling_grid,
)

OPS = torch.ops.voxelpose
SMALL = boxes(voxels=(4, 3, 5))

pytestmark = pytest.mark.skipif(
    implementation("cpu") == bindings.REFERENCE, reason="no compiler: the op is plain PyTorch here"
)


@pytest.fixture(scope="module")
def scene():
    """Heatmaps that are zero nowhere, so that every packed pixel is written, and their views."""
    heatmaps, views = scenes(3, 5)
    return heatmaps.clamp(min=0.01), views


def sampled(heatmaps, views, sampling=None, dtype=torch.float32, channels_last=False):
    """Arguments of torch.ops.voxelpose.sample_volumes."""
    packed = pack_heatmaps(heatmaps)
    grid = sampling.tensors if sampling else []
    return (
        packed.values,
        packed.occupied,
        heatmaps.shape[2],
        views.table,
        SMALL.centers,
        SMALL.scene,
        SMALL.size,
        SMALL.voxels,
        grid,
        False,
        dtype,
        channels_last,
    )


@pytest.fixture(scope="module")
def opcheck():
    if not hasattr(torch.library, "opcheck"):
        pytest.skip(f"PyTorch {torch.__version__} has no torch.library.opcheck")
    return torch.library.opcheck


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_pytorch_s_own_checks_of_sampling(scene, opcheck, dtype, channels_last):
    heatmaps, views = scene
    grid = sampling_grid(views, SMALL, HEATMAP)
    opcheck(OPS.sample_volumes, sampled(heatmaps, views, grid, dtype, channels_last))
    leaf = heatmaps.clone().requires_grad_()
    packed = pack_heatmaps(leaf).values.detach().requires_grad_()
    arguments = (packed, *sampled(heatmaps, views, None, dtype, channels_last)[1:])
    opcheck(OPS.sample_volumes, arguments)
    gradient = OPS.sample_volumes(*arguments).detach()
    opcheck(OPS.sample_volumes_backward, (gradient, packed.detach(), *arguments[1:]))


def test_pytorch_s_own_checks_of_packing(scene, opcheck):
    heatmaps, _ = scene
    opcheck(OPS.pack_heatmaps, (heatmaps,))
    opcheck(OPS.pack_heatmaps, (heatmaps.clone().requires_grad_(),))
    opcheck(OPS.unpack_heatmaps, (pack_heatmaps(heatmaps).values, 5))


def test_unpacking_undoes_packing(scene):
    heatmaps, _ = scene
    assert torch.equal(OPS.unpack_heatmaps(pack_heatmaps(heatmaps).values, 5), heatmaps)


@pytest.mark.skipif(
    not hasattr(torch.compiler, "is_compiling"), reason="PyTorch before 2.3 breaks the graph here"
)
@pytest.mark.parametrize("dynamic", [False, True])
def test_torch_compile_makes_one_graph(scene, dynamic):
    heatmaps, views = scene

    def loss(heatmaps):
        packed = pack_heatmaps(heatmaps)
        volumes = feature_volumes(packed, views, SMALL)
        half = feature_volumes(packed, views, SMALL, dtype=torch.bfloat16, channels_last=True)
        return (volumes * volumes).sum() + half.float().sum()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    answers = []
    for function in (compiled, loss):
        leaf = heatmaps.clone().requires_grad_()
        value = function(leaf)
        value.backward()
        answers.append((value.detach(), leaf.grad))
    torch.testing.assert_close(*answers, rtol=1e-6, atol=1e-6)
    assert answers[0][1].abs().max() > 0.1


class Sampler(torch.nn.Module):
    def __init__(self, views):
        super().__init__()
        self.views = views
        self.boxes = dataclasses.replace(SMALL, sampling=sampling_grid(views, SMALL, HEATMAP))

    def forward(self, heatmaps):
        return feature_volumes(heatmaps, self.views, self.boxes)


def test_an_exported_program_runs_with_and_without_a_kernel(scene):
    if importlib.util.find_spec("torch.export") is None or not hasattr(torch.export, "Dim"):
        pytest.skip(f"torch.export of PyTorch {torch.__version__} is not complete yet")
    heatmaps, views = scene
    program = torch.export.export(Sampler(views), (heatmaps,))
    assert "voxelpose.sample_volumes" in str(program.graph)
    run, expected = program.module(), feature_volumes(heatmaps, views, SMALL)
    assert torch.equal(run(heatmaps), expected)
    # A voxel on the border of an image may be seen by the one and not by the other.
    with bindings.use(bindings.REFERENCE):
        assert ((run(heatmaps) - expected).abs() > 2e-3).float().mean() < 2e-3


def test_operators_do_not_make_the_import_slow():
    """torch.compile's machinery takes longer to import than PyTorch itself."""
    done = in_process("import sys, voxelpose_core.voxel; print('torch._dynamo' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_operators_without_a_kernel_give_the_same_gradient(scene):
    heatmaps, views = scene
    # Mostly empty: the kernels leave packed pixels unwritten.
    heatmaps = torch.where(heatmaps > 0.9, heatmaps, 0.0)
    answers = []
    for choice in ("auto", bindings.REFERENCE):
        leaf = heatmaps.clone().requires_grad_()
        packed = pack_heatmaps(leaf)
        with bindings.use(choice):
            volumes = feature_volumes(packed, views, SMALL, dtype=torch.bfloat16)
            volumes.float().square().sum().backward()
        answers.append((volumes.detach().float(), leaf.grad))
    (values, gradient), (expected, expected_gradient) = answers
    assert ((values - expected).abs() > 0.01).float().mean() < 2e-3 < expected.mean()
    assert (gradient - expected_gradient).norm() < 0.03 * expected_gradient.norm() and gradient.any()
