"""The field's metrics: PCP (Campus, Shelf), AP, recall and MPJPE (Panoptic)."""

from voxelpose_core.metrics.average_precision import DetectionMetrics, evaluate_detections
from voxelpose_core.metrics.mpjpe import mpjpe, pose_distances
from voxelpose_core.metrics.pcp import PCP, campus14_from_coco17, evaluate_pcp

__all__ = [
    "PCP",
    "DetectionMetrics",
    "campus14_from_coco17",
    "evaluate_detections",
    "evaluate_pcp",
    "mpjpe",
    "pose_distances",
]
