"""The field's metrics: PCP (Campus, Shelf), AP, recall and MPJPE (Panoptic), MOTA and IDF1."""

from voxelpose_core.metrics.average_precision import DetectionMetrics, evaluate_detections
from voxelpose_core.metrics.mpjpe import mpjpe, pose_distances
from voxelpose_core.metrics.pcp import PCP, campus14_from_coco17, evaluate_pcp
from voxelpose_core.metrics.tracking import TrackingEvaluation, TrackingMetrics

__all__ = [
    "PCP",
    "DetectionMetrics",
    "TrackingEvaluation",
    "TrackingMetrics",
    "campus14_from_coco17",
    "evaluate_detections",
    "evaluate_pcp",
    "mpjpe",
    "pose_distances",
]
