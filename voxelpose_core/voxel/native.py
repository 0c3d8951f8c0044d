"""The compiled voxel kernels behind ctypes: which one runs where, and calls into it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
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
        ("views", ctypes.c_void_p),
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
        library: with voxel_pack, voxel_unpack, voxel_forward, voxel_backward; cpp: also
            output_scores, soft_argmax.
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
    """Within the block, "torch_reference" runs in place of the kernels, or "auto" again."""
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


class _Packed(threading.local):
    """What `unchanged_heatmaps` remembers in this thread; None outside of it."""

    pair: tuple[torch.Tensor | None, torch.Tensor | None] | None = None

    def find(self, heatmaps: torch.Tensor) -> torch.Tensor | None:
        return self.pair[1] if self.pair and self.pair[0] is heatmaps else None

    def keep(self, heatmaps: torch.Tensor, packed: torch.Tensor) -> None:
        if self.pair is not None:
            self.pair = (heatmaps, packed)


_packed = _Packed()


@contextlib.contextmanager
def unchanged_heatmaps() -> Iterator[None]:
    """Within the block no heatmaps are written to, so that the kernels need to read them in once.

    They keep the last heatmaps in their own layout: proposals, poses and refinement of a frame all
    sample the same ones.
    """
    before, _packed.pair = _packed.pair, (None, None)
    try:
        yield
    finally:
        _packed.pair = before


def _empty_packed(heatmaps: torch.Tensor) -> torch.Tensor:
    """(B, V, H + 2, W + 2, J rounded up to a multiple of 8) float32: see VoxelProblem."""
    scenes, views, joints, height, width = heatmaps.shape
    padded = -(-joints // 8) * 8
    return torch.empty(scenes, views, height + 2, width + 2, padded, device=heatmaps.device)


@dataclass
class Volumes:
    """A call of the op, ready for a kernel. Keeps alive what the pointers in `problem` refer to.

    Attributes:
        problem: the arguments in the kernel's form.
        shape: N, J, X, Y, Z.
        heatmap_shape: B, V, J, H, W.
        tensors: packed heatmaps, views, centres, scene indices, offsets of the voxels.
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
        views: Views,
        centers: torch.Tensor,
        scene: torch.Tensor,
        size: Sequence[float],
        voxels: Sequence[int],
        count_points_behind: bool,
        channels_last: bool,
        dtype: torch.dtype,
    ) -> Volumes:
        """Pack the arguments of `feature_volumes`."""
        scenes, view_count, joints, height, width = heatmaps.shape
        device = heatmaps.device
        known = _packed.find(heatmaps)
        packed = _empty_packed(heatmaps) if known is None else known
        table = _table(views)
        centers = centers.to(torch.float32).contiguous()
        scene = scene.to(torch.int64).contiguous()
        axes = box_axes(size, voxels, device)
        problem = _Problem(
            heatmaps=packed.data_ptr(),
            views=table.data_ptr(),
            centers=centers.data_ptr(),
            scene=scene.data_ptr(),
            axes=(ctypes.c_void_p * 3)(*(axis.data_ptr() for axis in axes)),
            boxes=len(centers),
            scenes=scenes,
            view_count=view_count,
            joints=joints,
            padded_joints=packed.shape[-1],
            heatmap_height=height,
            heatmap_width=width,
            voxels=(ctypes.c_int32 * 3)(*voxels),
            count_points_behind=count_points_behind,
            channels_last=channels_last,
            element=_ELEMENTS[dtype],
        )
        if known is None:
            source = heatmaps.detach().float()
            strides = (ctypes.c_int64 * 5)(*source.stride())
            kernel.call("voxel_pack", problem, source, strides, packed)
            _packed.keep(heatmaps, packed)
        shape = (len(centers), joints, *voxels)
        return cls(problem, shape, tuple(heatmaps.shape), (packed, table, centers, scene, *axes))

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


def _table(views: Views) -> torch.Tensor:
    """(B, V, 36) float32: VoxelView of csrc/voxel_math.h."""
    columns = [
        views.K.flatten(-2)[..., [0, 1, 2, 4, 5]],
        views.distortion,
        views.R.flatten(-2),
        views.C,
        views.image_size,
        views.valid_radius[..., None],
        views.to_heatmap.flatten(-2),
        views.present[..., None],
        views.fisheye[..., None],
    ]
    return torch.cat([column.to(torch.float32) for column in columns], dim=-1)
