"""Where a 1x1x1 convolution's softmax has its mean: the end of the pose net, for inference."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from voxelpose_core.voxel.boxes import box_axes, box_points
from voxelpose_core.voxel.native import kernel_for


class _Arguments(ctypes.Structure):
    """Arguments of csrc/soft_argmax_cpu.cpp."""

    _fields_ = [
        ("boxes", ctypes.c_int64),
        ("channels", ctypes.c_int32),
        ("joints", ctypes.c_int32),
        ("voxels", ctypes.c_int32 * 3),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("axes", ctypes.c_void_p * 3),
    ]


def soft_argmax(
    features: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    beta: float,
    size: Sequence[float],
) -> torch.Tensor:
    """Mean voxel offset under softmax(beta * (weight @ features + bias)) (VoxelPose, section 3.3).

    On CPUs the kernel does it in one pass over the features; not differentiable.

    Args:
        features: (N, C, X, Y, Z), float32 or bfloat16.
        weight, bias: (J, C) and (J,) float32.
        beta: sharpness.
        size: edge lengths between the outermost voxels of every box, mm.

    Returns:
        (N, J, 3) float32, mm from the centre of the box.
    """
    kernel = kernel_for(features.device)
    known = features.dtype in (torch.float32, torch.bfloat16)
    if kernel is None or kernel.name != "cpp" or not known:
        return _reference(features, weight, bias, beta, size)
    boxes, channels, *voxels = features.shape
    features = features.contiguous(memory_format=torch.channels_last_3d)
    joints = len(weight)
    padding = -joints % 8
    table = F.pad(beta * weight.T, (0, padding)).contiguous()
    offsets = torch.empty(boxes, joints, 3)
    bias, axes = F.pad(beta * bias, (0, padding)), box_axes(size, voxels, features.device)
    arguments = _Arguments(
        boxes=boxes,
        channels=channels,
        joints=joints,
        voxels=(ctypes.c_int32 * 3)(*voxels),
        weight=table.data_ptr(),
        bias=bias.data_ptr(),
        axes=(ctypes.c_void_p * 3)(*(axis.data_ptr() for axis in axes)),
    )
    is_bfloat16 = ctypes.c_int(features.dtype == torch.bfloat16)
    if boxes:
        kernel.call("soft_argmax", arguments, features, is_bfloat16, offsets)
    return offsets


def _reference(features, weight, bias, beta, size) -> torch.Tensor:
    columns = features.permute(0, 2, 3, 4, 1).flatten(1, 3).float().transpose(1, 2)
    probability = torch.softmax(beta * (weight @ columns + bias[:, None]), dim=-1)
    center = torch.zeros(1, 3, device=features.device)
    return probability @ box_points(center, size, features.shape[2:])[0]
