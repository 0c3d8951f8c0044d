"""ctypes bindings of the compiled kernels: their argument structures, loading, and calls.

The structures mirror those of csrc/voxel_math.h, csrc/pointwise_cpu.cpp and csrc/heatmaps_cpu.cpp.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from voxelpose_core.voxel import kernels
from voxelpose_core.voxel.boxes import cached_axes

logger = logging.getLogger(__name__)

REFERENCE = "torch_reference"
# VOXELPOSE_KERNEL=torch_reference selects plain PyTorch in place of the compiled kernels.
_choice = os.environ.get("VOXELPOSE_KERNEL", "auto")
# VoxelProblem.element.
ELEMENTS = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


class Arguments(ctypes.Structure):
    """Arguments of a kernel's function, which keep the tensors alive to which they point."""

    def point_to(self, **fields: torch.Tensor | Sequence[torch.Tensor]) -> None:
        """Set the pointers of these fields, single or in arrays."""
        for name, tensors in fields.items():
            if isinstance(tensors, torch.Tensor):
                setattr(self, name, tensors.data_ptr())
            else:
                array = ctypes.c_void_p * len(tensors)
                setattr(self, name, array(*(tensor.data_ptr() for tensor in tensors)))
        self.__dict__.setdefault("alive", []).extend(fields.values())


class VoxelProblem(Arguments):
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

    @classmethod
    def of_heatmaps(
        cls, scenes: int, views: int, joints: int, padded_joints: int, size: tuple[int, int]
    ) -> VoxelProblem:
        """The shape of heatmaps, as voxel_pack and voxel_unpack need it.

        Args:
            scenes, views, joints: B, V, J.
            padded_joints: J rounded up, as they lie in the packed layout.
            size: (width, height), pixels.
        """
        return cls(
            scenes=scenes,
            view_count=views,
            joints=joints,
            padded_joints=padded_joints,
            heatmap_width=size[0],
            heatmap_height=size[1],
        )

    def set_boxes(
        self,
        views: torch.Tensor,
        centers: torch.Tensor,
        scene: torch.Tensor,
        size: Sequence[float],
        voxels: Sequence[int],
        count_points_behind: bool,
    ) -> None:
        """The boxes and the views in front of which they lie.

        Args:
            views: (B, V, 36), `Views.table`.
            centers, scene, size, voxels: see `Boxes`.
            count_points_behind: see `feature_volumes`.
        """
        self.point_to(
            views=views.contiguous(),
            centers=centers.to(torch.float32).contiguous(),
            scene=scene.to(torch.int64).contiguous(),
            axes=cached_axes(tuple(size), tuple(voxels), centers.device),
        )
        self.boxes = len(centers)
        self.voxels = (ctypes.c_int32 * 3)(*voxels)
        self.count_points_behind = count_points_behind


class PointwiseArguments(Arguments):
    """Arguments of csrc/pointwise_cpu.cpp."""

    _fields_ = [
        ("boxes", ctypes.c_int64),
        ("channels", ctypes.c_int32),
        ("outputs", ctypes.c_int32),
        ("voxels", ctypes.c_int32 * 3),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("axes", ctypes.c_void_p * 3),
        ("skip", ctypes.c_void_p),
    ]

    @classmethod
    def of_features(
        cls, shape: Sequence[int], outputs: int, table: tuple[torch.Tensor, torch.Tensor]
    ) -> PointwiseArguments:
        """Those of every function there.

        Args:
            shape: N, C, X, Y, Z of the features.
            outputs: K, of the convolution.
            table: its `Pointwise.table`.
        """
        boxes, channels, *voxels = shape
        arguments = cls(boxes, channels, outputs, (ctypes.c_int32 * 3)(*voxels))
        arguments.point_to(weight=table[0], bias=table[1])
        return arguments


class KeypointArguments(Arguments):
    """Keypoints of csrc/heatmaps_cpu.cpp."""

    _fields_ = [
        ("images", ctypes.c_int64),
        ("people", ctypes.c_int32),
        ("joints", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("xy", ctypes.c_void_p),
        ("scores", ctypes.c_void_p),
        ("sigma", ctypes.c_void_p),
    ]


@dataclass(frozen=True)
class Kernel:
    """A loaded library.

    Attributes:
        name: "cpp" or "cuda".
        library: with voxel_pack, voxel_unpack, voxel_spots, voxel_forward, voxel_backward; cpp: also
            projection_shortcut, output_scores, soft_argmax, draw_keypoints.
        dtypes: what volumes it writes.
    """

    name: str
    library: ctypes.CDLL
    dtypes: frozenset[torch.dtype]

    def call(
        self, function: str, arguments: Arguments, *others: torch.Tensor | bool | tuple[int, ...]
    ) -> None:
        """Run a function of the library on the device of the tensors among its arguments.

        Args:
            function: its name.
            arguments: the structure that it takes first.
            others: what follows: tensors, flags, arrays of int64.

        Raises:
            RuntimeError: with CUDA's error number.
        """
        passed = [_as_ctypes(value) for value in others]
        if self.name != "cuda":
            threads = ctypes.c_int(torch.get_num_threads())
            getattr(self.library, function)(ctypes.byref(arguments), *passed, threads)
            return
        device = next(value.device for value in others if isinstance(value, torch.Tensor))
        with torch.cuda.device(device):
            stream = ctypes.c_void_p(torch.cuda.current_stream(device).cuda_stream)
            status = getattr(self.library, function)(ctypes.byref(arguments), *passed, stream)
        if status:
            raise RuntimeError(f"voxel kernel: CUDA error {status} in {function}")


def _as_ctypes(value: torch.Tensor | bool | tuple[int, ...]):
    if isinstance(value, torch.Tensor):
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, tuple):
        return (ctypes.c_int64 * len(value))(*value)
    return ctypes.c_int(value)


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
    return _load("cuda", lambda: kernels.cuda_library(capability), set(ELEMENTS))


def _load(name: str, build: Callable, dtypes: set[torch.dtype]) -> Kernel | None:
    try:
        return Kernel(name, ctypes.CDLL(str(build())), frozenset(dtypes))
    except (kernels.BuildError, OSError) as error:
        logger.warning("voxel op runs in plain PyTorch, which is slower: %s", error)
        return None
