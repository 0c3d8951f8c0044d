"""The voxel op as PyTorch custom operators, `torch.ops.voxelpose.*`: kernels, gradients, shapes.

torch.compile and torch.export take them as they are. `op.py` is their public face. Registered by way
of torch.library.Library, which PyTorch 2.1 has already.

Heatmaps are packed (B, V, H + 2, W + 2, J rounded up to a multiple of 8) float32; see VoxelProblem of
csrc/voxel_math.h. On CPUs not even zeros are written where they are empty. `occupied`
(B, V, H + 2, W + 2) uint8 says where a bilinear sample is not zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from voxelpose_core.voxel import bindings, torch_reference
from voxelpose_core.voxel.boxes import Boxes
from voxelpose_core.voxel.views import Views

# Joints of a pixel are read in groups of so many (csrc/voxel_items.h).
_GROUP = 8
_BOXES = (
    "Tensor heatmaps, Tensor occupied, SymInt joints, Tensor views, Tensor centers, Tensor scene, "
    "float[] size, SymInt[] voxels, Tensor[] sampling, bool count_points_behind, ScalarType dtype, "
    "bool channels_last"
)
_library = torch.library.Library("voxelpose", "DEF")
_library.define("pack_heatmaps(Tensor heatmaps) -> (Tensor, Tensor)")
_library.define("unpack_heatmaps(Tensor packed, SymInt joints) -> Tensor")
_library.define(f"sample_volumes({_BOXES}) -> Tensor")
_library.define(f"sample_volumes_backward(Tensor gradient, {_BOXES}) -> Tensor")
_ops = torch.ops.voxelpose


def _empty_packed(heatmaps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Room for packed heatmaps (B, V, J, H, W), and for where they are occupied."""
    scenes, views, joints, height, width = heatmaps.shape
    image = (scenes, views, height + 2, width + 2)
    padded = (joints + _GROUP - 1) // _GROUP * _GROUP
    packed = torch.empty(*image, padded, device=heatmaps.device)
    return packed, torch.empty(image, dtype=torch.uint8, device=heatmaps.device)


def _pack(heatmaps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    packed, occupied = _empty_packed(heatmaps)
    kernel = bindings.kernel_for(heatmaps.device)
    source = heatmaps.float()
    if kernel is None:
        packed.zero_()[:, :, 1:-1, 1:-1, : source.shape[2]] = source.permute(0, 1, 3, 4, 2)
        return packed, occupied.fill_(1)
    problem = _problem(packed, source.shape[2])
    marks = torch.empty_like(occupied)
    kernel.call("voxel_pack", problem, source, source.stride(), packed, occupied, marks)
    return packed, occupied


def _empty_heatmaps(packed: torch.Tensor, joints: int) -> torch.Tensor:
    scenes, views, height, width, _ = packed.shape
    return torch.empty(scenes, views, joints, height - 2, width - 2, device=packed.device)


def _unpack(packed: torch.Tensor, joints: int) -> torch.Tensor:
    heatmaps = _empty_heatmaps(packed, joints)
    kernel = bindings.kernel_for(packed.device)
    if kernel is None:
        inner = packed[:, :, 1:-1, 1:-1, :joints]
        return heatmaps.copy_(inner.permute(0, 1, 4, 2, 3))
    kernel.call("voxel_unpack", _problem(packed, joints), packed.contiguous(), heatmaps)
    return heatmaps


def _empty_volumes(
    heatmaps,
    occupied,
    joints,
    views,
    centers,
    scene,
    size,
    voxels,
    sampling,
    count_points_behind,
    dtype,
    channels_last,
) -> torch.Tensor:
    shape = (centers.shape[0], joints, *voxels)
    return torch.empty(
        shape, dtype=dtype, device=heatmaps.device, memory_format=_memory_format(channels_last)
    )


def _sample(
    heatmaps,
    occupied,
    joints,
    views,
    centers,
    scene,
    size,
    voxels,
    sampling,
    count_points_behind,
    dtype,
    channels_last,
) -> torch.Tensor:
    arguments = (
        heatmaps,
        occupied,
        joints,
        views,
        centers,
        scene,
        size,
        voxels,
        sampling,
        count_points_behind,
    )
    kernel = bindings.kernel_for(heatmaps.device)
    if kernel is None:
        empty = _empty_volumes(*arguments, dtype, channels_last)
        return empty.copy_(_reference(_with_zeros(heatmaps, occupied), *arguments[2:]))
    check_scene(scene, heatmaps.shape[0])
    written = dtype if dtype in kernel.dtypes else torch.float32
    volumes = _empty_volumes(*arguments, written, channels_last)
    if volumes.numel():
        problem = _sampling_problem(*arguments, written, channels_last)
        kernel.call("voxel_forward", problem, volumes)
    return volumes.to(dtype)


def _sample_backward(
    gradient,
    heatmaps,
    occupied,
    joints,
    views,
    centers,
    scene,
    size,
    voxels,
    sampling,
    count_points_behind,
    dtype,
    channels_last,
) -> torch.Tensor:
    arguments = (
        heatmaps,
        occupied,
        joints,
        views,
        centers,
        scene,
        size,
        voxels,
        sampling,
        count_points_behind,
    )
    kernel = bindings.kernel_for(heatmaps.device)
    if kernel is None:
        return _reference_backward(gradient, _with_zeros(heatmaps, occupied), *arguments[2:])
    gradient = gradient.float().contiguous(memory_format=_memory_format(channels_last))
    packed = torch.zeros_like(heatmaps)
    if gradient.numel():
        problem = _sampling_problem(*arguments, torch.float32, channels_last)
        # The C++ kernel scales the gradient of all voxels before it adds any.
        scaled = []
        if kernel.name == "cpp":
            scaled = [torch.empty(len(centers), *voxels, packed.shape[-1])]
        kernel.call("voxel_backward", problem, gradient, *scaled, packed)
    return packed


def _empty_gradient(gradient, heatmaps, *_) -> torch.Tensor:
    return torch.empty_like(heatmaps)


def _memory_format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last_3d if channels_last else torch.contiguous_format


def _problem(packed: torch.Tensor, joints: int) -> bindings.VoxelProblem:
    scenes, views, height, width, padded = packed.shape
    return bindings.VoxelProblem.of_heatmaps(scenes, views, joints, padded, (width - 2, height - 2))


def _sampling_problem(
    heatmaps,
    occupied,
    joints,
    views,
    centers,
    scene,
    size,
    voxels,
    sampling,
    count_points_behind,
    dtype,
    channels_last,
) -> bindings.VoxelProblem:
    problem = _problem(heatmaps, joints)
    problem.point_to(heatmaps=heatmaps.contiguous(), occupied=occupied.contiguous())
    problem.set_boxes(views, centers, scene, size, voxels, count_points_behind)
    if sampling:
        problem.point_to(spots=sampling)
    problem.element, problem.channels_last = bindings.ELEMENTS[dtype], channels_last
    return problem


def check_scene(scene: torch.Tensor, scenes: int) -> None:
    """Refuse scene indices beyond `scenes`; on CUDA devices that would cost a synchronization.

    Raises:
        ValueError: naming their range.
    """
    if scene.device.type == "cpu" and len(scene):
        low, high = scene.aminmax()
        if low < 0 or high >= scenes:
            raise ValueError(f"scene is in {low}..{high}, expected 0..{scenes - 1}")


def _with_zeros(heatmaps: torch.Tensor, occupied: torch.Tensor) -> torch.Tensor:
    """The packed heatmaps with zeros where a kernel did not write any."""
    # A pixel was written if one of the four taps that read it is occupied.
    written = F.max_pool2d(F.pad(occupied, (1, 0, 1, 0)).float(), 2, 1)[..., None] > 0
    return torch.where(written, heatmaps, 0.0)


def _reference(
    heatmaps, joints, views, centers, scene, size, voxels, sampling, count_points_behind
) -> torch.Tensor:
    """The volumes by plain PyTorch: for a graph that was exported where a kernel could be built."""
    check_scene(scene, heatmaps.shape[0])
    inner = heatmaps[:, :, 1:-1, 1:-1, :joints].permute(0, 1, 4, 2, 3)
    boxes = Boxes(centers, scene, size, voxels)
    return torch_reference.feature_volumes(
        inner.contiguous(), Views.from_table(views), boxes, count_points_behind
    )


@torch.enable_grad()
def _reference_backward(gradient, heatmaps, *arguments) -> torch.Tensor:
    leaf = heatmaps.detach().requires_grad_()
    volumes = _reference(leaf, *arguments)
    return torch.autograd.grad(volumes, leaf, gradient.to(volumes.dtype))[0]


class _PackHeatmaps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, heatmaps):
        ctx.joints, ctx.dtype = heatmaps.shape[2], heatmaps.dtype
        with torch._C._AutoDispatchBelowAutograd():
            packed, occupied = _ops.pack_heatmaps(heatmaps)
        ctx.mark_non_differentiable(occupied)
        return packed, occupied

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient, _):
        return _ops.unpack_heatmaps(gradient, ctx.joints).to(ctx.dtype)


class _SampleVolumes(torch.autograd.Function):
    @staticmethod
    def forward(ctx, heatmaps, occupied, joints, views, centers, scene, size, voxels, sampling, *how):
        ctx.save_for_backward(heatmaps, occupied, views, centers, scene, *sampling)
        ctx.joints, ctx.grid, ctx.how = joints, (size, voxels), how
        with torch._C._AutoDispatchBelowAutograd():
            return _ops.sample_volumes(
                heatmaps, occupied, joints, views, centers, scene, size, voxels, sampling, *how
            )

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        heatmaps, occupied, views, centers, scene, *sampling = ctx.saved_tensors
        packed = _ops.sample_volumes_backward(
            gradient,
            heatmaps,
            occupied,
            ctx.joints,
            views,
            centers,
            scene,
            *ctx.grid,
            sampling,
            *ctx.how,
        )
        return packed, *(None,) * 11


def _differentiable(function: type[torch.autograd.Function], name: str) -> None:
    """Register the gradient of an operator with respect to its first tensor, the heatmaps."""
    operator = getattr(_ops, name)

    def run(heatmaps, *arguments):
        if torch.is_grad_enabled() and heatmaps.requires_grad:
            return function.apply(heatmaps, *arguments)
        with torch._C._AutoDispatchBelowAutograd():
            return operator(heatmaps, *arguments)

    _library.impl(name, run, "Autograd")


for _name, _run, _meta in (
    ("pack_heatmaps", _pack, _empty_packed),
    ("unpack_heatmaps", _unpack, _empty_heatmaps),
    ("sample_volumes", _sample, _empty_volumes),
    ("sample_volumes_backward", _sample_backward, _empty_gradient),
):
    _library.impl(_name, _run, "CPU")
    _library.impl(_name, _run, "CUDA")
    _library.impl(_name, _meta, "Meta")
_differentiable(_PackHeatmaps, "pack_heatmaps")
_differentiable(_SampleVolumes, "sample_volumes")
