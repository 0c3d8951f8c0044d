"""The compiled voxel kernels behind ctypes: which one runs where, and calls into it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import math
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from voxelpose_core.voxel import kernels
from voxelpose_core.voxel.boxes import box_axes
from voxelpose_core.voxel.views import Views

logger = logging.getLogger(__name__)

REFERENCE = "torch_reference"
# VOXELPOSE_KERNEL=torch_reference does without the compiled ones.
_choice = os.environ.get("VOXELPOSE_KERNEL", "auto")
_ELEMENTS = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


class _Problem(ctypes.Structure):
    """VoxelProblem of csrc/voxel_math.h."""

    _fields_ = [
        ("heatmaps", ctypes.c_void_p),
        ("occupied", ctypes.c_void_p),
        ("views", ctypes.c_void_p),
        ("spots", ctypes.c_void_p * 3),
        ("centers", ctypes.c_void_p),
        ("scene", ctypes.c_void_p),
        ("axes", ctypes.c_void_p * 3),
        ("boxes", ctypes.c_int64),
        ("scenes", ctypes.c_int64),
        ("view_count", ctypes.c_int32),
        ("joints", ctypes.c_int32),
        ("padded_joints", ctypes.c_int32),
        ("heatmap_height", ctypes.c_int32),
        ("heatmap_width", ctypes.c_int32),
        ("voxels", ctypes.c_int32 * 3),
        ("count_points_behind", ctypes.c_int32),
        ("channels_last", ctypes.c_int32),
        ("element", ctypes.c_int32),
    ]


@dataclass(frozen=True)
class Kernel:
    """A loaded library.

    Attributes:
        name: "cpp" or "cuda".
        library: with voxel_pack, voxel_unpack, voxel_spots, voxel_forward, voxel_backward; cpp: also
            projection_shortcut, output_scores, soft_argmax.
        dtypes: what volumes it writes.
    """

    name: str
    library: ctypes.CDLL
    dtypes: frozenset[torch.dtype]

    def call(self, function: str, arguments: ctypes.Structure, *pointers) -> None:
        """Run a function of the library on the device of the tensors among its arguments."""
        addresses = [
            ctypes.c_void_p(p.data_ptr()) if isinstance(p, torch.Tensor) else p for p in pointers
        ]
        if self.name != "cuda":
            getattr(self.library, function)(
                ctypes.byref(arguments), *addresses, ctypes.c_int(torch.get_num_threads())
            )
            return
        device = next(p.device for p in pointers if isinstance(p, torch.Tensor))
        with torch.cuda.device(device):
            stream = ctypes.c_void_p(torch.cuda.current_stream(device).cuda_stream)
            status = getattr(self.library, function)(ctypes.byref(arguments), *addresses, stream)
        if status:
            raise RuntimeError(f"voxel kernel: CUDA error {status} in {function}")


def implementation(device: torch.device | str = "cpu") -> str:
    """Name of what computes feature volumes there: "cpp", "cuda" or "torch_reference"."""
    kernel = kernel_for(torch.device(device))
    return kernel.name if kernel else REFERENCE


@contextlib.contextmanager
def use(name: str) -> Iterator[None]:
    """Within the block, "torch_reference" runs instead of the kernels, or "auto" again."""
    global _choice
    before, _choice = _choice, name
    try:
        yield
    finally:
        _choice = before


def kernel_for(device: torch.device) -> Kernel | None:
    """The kernel of that device, built and loaded at the first call; None: the reference runs."""
    if _choice == REFERENCE:
        return None
    if device.type == "cpu":
        return _load_cpu()
    if device.type == "cuda":
        return _load_cuda(torch.cuda.get_device_capability(device))
    return None


@functools.cache
def _load_cpu() -> Kernel | None:
    return _load("cpp", kernels.cpu_library, {torch.float32, torch.bfloat16})


@functools.cache
def _load_cuda(capability: tuple[int, int]) -> Kernel | None:
    return _load("cuda", lambda: kernels.cuda_library(capability), set(_ELEMENTS))


def _load(name, build, dtypes) -> Kernel | None:
    try:
        return Kernel(name, ctypes.CDLL(str(build())), frozenset(dtypes))
    except (kernels.BuildError, OSError) as error:
        logger.warning("voxel op runs in plain PyTorch, which is slower: %s", error)
        return None


@dataclass(frozen=True)
class PackedHeatmaps:
    """Heatmaps in the kernels' layout: see VoxelProblem of csrc/voxel_math.h.

    Attributes:
        values: (B, V, H + 2, W + 2, J rounded up to a multiple of 8) float32; on CPUs not even zeros
            are written where the heatmaps are empty.
        occupied: (B, V, H + 2, W + 2) uint8: where a bilinear sample is not zero.
    """

    values: torch.Tensor
    occupied: torch.Tensor

    @classmethod
    def like(cls, heatmaps: torch.Tensor) -> PackedHeatmaps:
        """Room for heatmaps (B, V, J, H, W)."""
        scenes, views, joints, height, width = heatmaps.shape
        image = (scenes, views, height + 2, width + 2)
        values = torch.empty(*image, -(-joints // 8) * 8, device=heatmaps.device)
        return cls(values, torch.empty(image, dtype=torch.uint8, device=heatmaps.device))


class _Packed(threading.local):
    """What `unchanged_heatmaps` remembers in this thread, newest last; None outside of it."""

    pairs: list[tuple[torch.Tensor, PackedHeatmaps]] | None = None

    def find(self, heatmaps: torch.Tensor) -> PackedHeatmaps | None:
        return next((packed for known, packed in self.pairs or () if known is heatmaps), None)

    def keep(self, heatmaps: torch.Tensor, packed: PackedHeatmaps) -> None:
        if self.pairs is not None:
            self.pairs = [*self.pairs[-1:], (heatmaps, packed)]


_packed = _Packed()


@contextlib.contextmanager
def unchanged_heatmaps() -> Iterator[None]:
    """Within the block no heatmaps are written to, so that the kernels need to read them in once.

    They keep the last two in their own layout: proposals and scores of a frame sample the same ones,
    poses and refinement those with peaks of 1.
    """
    before, _packed.pairs = _packed.pairs, []
    try:
        yield
    finally:
        _packed.pairs = before


@dataclass(frozen=True)
class SamplingGrid:
    """Where each of V views is sampled for the M voxels of each of N boxes that never move.

    Attributes:
        pixel: (N, V, M) int32, top left tap in the packed heatmap; -1 where the voxel is not seen.
        right, down: (N, V, M) float32, how far right of it and below it, pixels.
        heatmap_size: (width, height) of the heatmaps it is for.
    """

    pixel: torch.Tensor
    right: torch.Tensor
    down: torch.Tensor
    heatmap_size: tuple[int, int]

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return self.pixel, self.right, self.down


@dataclass(frozen=True)
class Boxes:
    """N boxes of voxels before V views of B scenes: see `feature_volumes`."""

    views: Views
    centers: torch.Tensor
    scene: torch.Tensor
    size: Sequence[float]
    voxels: Sequence[int]
    count_points_behind: bool

    def problem(self, heatmap_size: tuple[int, int]) -> tuple[_Problem, tuple[torch.Tensor, ...]]:
        """What does not depend on the heatmaps' values, and the tensors that it points to."""
        device = self.centers.device
        table = self.views.table
        centers = self.centers.to(torch.float32).contiguous()
        scene = self.scene.to(torch.int64).contiguous()
        axes = cached_axes(tuple(self.size), tuple(self.voxels), device)
        problem = _Problem(
            views=table.data_ptr(),
            centers=centers.data_ptr(),
            scene=scene.data_ptr(),
            axes=pointers(axes),
            boxes=len(centers),
            scenes=len(table),
            view_count=table.shape[1],
            heatmap_width=heatmap_size[0],
            heatmap_height=heatmap_size[1],
            voxels=(ctypes.c_int32 * 3)(*self.voxels),
            count_points_behind=self.count_points_behind,
        )
        return problem, (table, centers, scene, *axes)


@functools.lru_cache(maxsize=64)
def cached_axes(size, voxels, device) -> list[torch.Tensor]:
    """`box_axes`, of which a GPU would have to be asked again and again."""
    return box_axes(size, voxels, device)


def pointers(tensors: Sequence[torch.Tensor]) -> ctypes.Array:
    """Their addresses, for a field of a structure."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def find_spots(kernel: Kernel, boxes: Boxes, heatmap_size: tuple[int, int]) -> SamplingGrid:
    """The sampling grid of boxes, as if all views were present."""
    problem, _alive = boxes.problem(heatmap_size)
    shape = (problem.boxes, problem.view_count, math.prod(boxes.voxels))
    device = boxes.centers.device
    pixel = torch.empty(shape, dtype=torch.int32, device=device)
    right, down = (torch.empty(shape, device=device) for _ in range(2))
    if pixel.numel():
        kernel.call("voxel_spots", problem, pixel, right, down)
    return SamplingGrid(pixel, right, down, heatmap_size)


@dataclass
class Volumes:
    """A call of the op, ready for a kernel. Keeps alive what the pointers in `problem` refer to.

    Attributes:
        problem: the arguments in the kernel's form.
        shape: N, J, X, Y, Z.
        heatmap_shape: B, V, J, H, W.
        tensors: packed heatmaps and where they are occupied, then what else is pointed to.
    """

    problem: _Problem
    shape: tuple[int, ...]
    heatmap_shape: tuple[int, ...]
    tensors: tuple[torch.Tensor, ...]

    @classmethod
    def prepare(
        cls,
        kernel: Kernel,
        heatmaps: torch.Tensor,
        boxes: Boxes,
        channels_last: bool,
        dtype: torch.dtype,
        grid: SamplingGrid | None,
    ) -> Volumes:
        """Pack the arguments of `feature_volumes`."""
        joints, height, width = heatmaps.shape[2:]
        known = _packed.find(heatmaps)
        packed = known or PackedHeatmaps.like(heatmaps)
        problem, tensors = boxes.problem((width, height))
        problem.heatmaps = packed.values.data_ptr()
        problem.occupied = packed.occupied.data_ptr()
        problem.joints, problem.padded_joints = joints, packed.values.shape[-1]
        problem.channels_last, problem.element = channels_last, _ELEMENTS[dtype]
        if grid is not None:
            problem.spots, tensors = pointers(grid.tensors), (*tensors, *grid.tensors)
        if known is None:
            source = heatmaps.detach().float()
            strides = (ctypes.c_int64 * 5)(*source.stride())
            marks = torch.empty_like(packed.occupied)
            kernel.call(
                "voxel_pack", problem, source, strides, packed.values, packed.occupied, marks
            )
            _packed.keep(heatmaps, packed)
        shape = (problem.boxes, joints, *boxes.voxels)
        tensors = (packed.values, packed.occupied, *tensors)
        return cls(problem, shape, tuple(heatmaps.shape), tensors)

    def forward(self, kernel: Kernel, dtype: torch.dtype) -> torch.Tensor:
        """(N, J, X, Y, Z) of that dtype."""
        volumes = torch.empty(
            self.shape, dtype=dtype, device=self.device, memory_format=self._memory_format
        )
        if volumes.numel():
            kernel.call("voxel_forward", self.problem, volumes)
        return volumes

    def backward(self, kernel: Kernel, gradient: torch.Tensor) -> torch.Tensor:
        """(B, V, J, H, W) gradient of the heatmaps from (N, J, X, Y, Z) of the volumes."""
        gradient = gradient.float().contiguous(memory_format=self._memory_format)
        packed = torch.zeros_like(self.tensors[0])
        if gradient.numel():
            self._scatter(kernel, gradient, packed)
        result = torch.empty(self.heatmap_shape, device=self.device)
        kernel.call("voxel_unpack", self.problem, packed, result)
        return result

    def _scatter(self, kernel: Kernel, gradient: torch.Tensor, packed: torch.Tensor) -> None:
        if kernel.name != "cpp":
            kernel.call("voxel_backward", self.problem, gradient, packed)
            return
        boxes, _, *voxels = self.shape
        scaled = torch.empty(boxes, *voxels, packed.shape[-1])
        kernel.call("voxel_backward", self.problem, gradient, scaled, packed)

    @property
    def device(self) -> torch.device:
        return self.tensors[0].device

    @property
    def _memory_format(self) -> torch.memory_format:
        last = self.problem.channels_last
        return torch.channels_last_3d if last else torch.contiguous_format
