"""The voxel op as PyTorch custom operators, `torch.ops.voxelpose.*`: kernels, gradients, shapes.

torch.compile and torch.export take them as they are. `op.py` is their public face. Registered by way
of torch.library.Library, which PyTorch 2.1 has already.

Heatmaps are packed (B, V, H + 2, W + 2, J rounded up to a multiple of 8) float32; see VoxelProblem of
csrc/voxel_math.h. On CPUs not even zeros are written where they are empty. `occupied`
(B, V, H + 2, W + 2) uint8 says where a bilinear sample is not zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from voxelpose_core.voxel import bindings, torch_reference
from voxelpose_core.voxel.boxes import Boxes
from voxelpose_core.voxel.views import Views

# Joints of a pixel are read in groups of so many (csrc/voxel_items.h).
_GROUP = 8
# The single tensors among the arguments of `sample_volumes`.
_TENSORS = ("heatmaps", "occupied", "views", "centers", "scene")
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


class _Sampling(NamedTuple):
    """The arguments of `sample_volumes`, in the order of its schema."""

    heatmaps: torch.Tensor
    occupied: torch.Tensor
    joints: int
    views: torch.Tensor
    centers: torch.Tensor
    scene: torch.Tensor
    size: Sequence[float]
    voxels: Sequence[int]
    sampling: Sequence[torch.Tensor]
    count_points_behind: bool
    dtype: torch.dtype
    channels_last: bool

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last_3d if self.channels_last else torch.contiguous_format

    def problem(self) -> bindings.VoxelProblem:
        """What the kernels are told."""
        problem = _problem(self.heatmaps, self.joints)
        problem.point_to(heatmaps=self.heatmaps.contiguous(), occupied=self.occupied.contiguous())
        problem.set_boxes(
            self.views, self.centers, self.scene, self.size, self.voxels, self.count_points_behind
        )
        if self.sampling:
            problem.point_to(spots=self.sampling)
        problem.element, problem.channels_last = bindings.ELEMENTS[self.dtype], self.channels_last
        return problem

    def with_zeros(self) -> torch.Tensor:
        """The packed heatmaps with zeros where a kernel did not write any."""
        # A pixel was written if one of the four taps that read it is occupied.
        taps = F.pad(self.occupied, (1, 0, 1, 0)).float()
        return torch.where(F.max_pool2d(taps, 2, 1)[..., None] > 0, self.heatmaps, 0.0)

    def reference(self, heatmaps: torch.Tensor) -> torch.Tensor:
        """The volumes of packed heatmaps by plain PyTorch: for a graph that was exported where a kernel
        could be built."""
        check_scene(self.scene, heatmaps.shape[0])
        inner = heatmaps[:, :, 1:-1, 1:-1, : self.joints].permute(0, 1, 4, 2, 3)
        boxes = Boxes(self.centers, self.scene, self.size, self.voxels)
        return torch_reference.feature_volumes(
            inner.contiguous(), Views.from_table(self.views), boxes, self.count_points_behind
        )


def _empty_volumes(*arguments) -> torch.Tensor:
    given = _Sampling(*arguments)
    return torch.empty(
        (given.centers.shape[0], given.joints, *given.voxels),
        dtype=given.dtype,
        device=given.heatmaps.device,
        memory_format=given.memory_format,
    )


def _sample(*arguments) -> torch.Tensor:
    given = _Sampling(*arguments)
    kernel = bindings.kernel_for(given.heatmaps.device)
    if kernel is None:
        return _empty_volumes(*given).copy_(given.reference(given.with_zeros()))
    check_scene(given.scene, given.heatmaps.shape[0])
    written = given._replace(dtype=given.dtype if given.dtype in kernel.dtypes else torch.float32)
    volumes = _empty_volumes(*written)
    if volumes.numel():
        kernel.call("voxel_forward", written.problem(), volumes)
    return volumes.to(given.dtype)


def _sample_backward(gradient, *arguments) -> torch.Tensor:
    given = _Sampling(*arguments)
    kernel = bindings.kernel_for(given.heatmaps.device)
    if kernel is None:
        return _reference_backward(gradient, given)
    gradient = gradient.float().contiguous(memory_format=given.memory_format)
    packed = torch.zeros_like(given.heatmaps)
    if gradient.numel():
        problem = given._replace(dtype=torch.float32).problem()
        # The C++ kernel scales the gradient of all voxels before it adds any.
        scaled = []
        if kernel.name == "cpp":
            scaled = [torch.empty(len(given.centers), *given.voxels, packed.shape[-1])]
        kernel.call("voxel_backward", problem, gradient, *scaled, packed)
    return packed


@torch.enable_grad()
def _reference_backward(gradient: torch.Tensor, given: _Sampling) -> torch.Tensor:
    leaf = given.with_zeros().detach().requires_grad_()
    volumes = given.reference(leaf)
    return torch.autograd.grad(volumes, leaf, gradient.to(volumes.dtype))[0]


def _empty_gradient(gradient, heatmaps, *_) -> torch.Tensor:
    return torch.empty_like(heatmaps)


def _problem(packed: torch.Tensor, joints: int) -> bindings.VoxelProblem:
    scenes, views, height, width, padded = packed.shape
    return bindings.VoxelProblem.of_heatmaps(scenes, views, joints, padded, (width - 2, height - 2))


def check_scene(scene: torch.Tensor, scenes: int) -> None:
    """Refuse scene indices beyond `scenes`; on CUDA devices that would cost a synchronization.

    Raises:
        ValueError: naming their range.
    """
    if scene.device.type == "cpu" and len(scene):
        low, high = scene.aminmax()
        if low < 0 or high >= scenes:
            raise ValueError(f"scene is in {low}..{high}, expected 0..{scenes - 1}")


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
    def forward(ctx, *arguments):
        given = _Sampling(*arguments)
        # Tensors are kept by autograd, which tells when one was changed in place.
        ctx.save_for_backward(*(getattr(given, name) for name in _TENSORS), *given.sampling)
        ctx.given = given._replace(**dict.fromkeys(_TENSORS), sampling=())
        with torch._C._AutoDispatchBelowAutograd():
            return _ops.sample_volumes(*given)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        count = len(_TENSORS)
        tensors, sampling = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        given = ctx.given._replace(**dict(zip(_TENSORS, tensors, strict=True)), sampling=list(sampling))
        return _ops.sample_volumes_backward(gradient, *given), *(None,) * (len(given) - 1)


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
