"""Old parameter names and their new ones, per node: who still gives an old one is told the new one."""

from __future__ import annotations

NODE = {
    "reliability": "qos.reliability",
    "queue_depth": "qos.depth",
    "output_reliability": "qos.output_reliability",
    "slop_ms": "sync.slop_ms",
    "max_wait_ms": "sync.max_wait_ms",
    "min_cameras": "sync.min_cameras",
    "offsets_ms": "sync.offsets_ms",
    "precision": "estimator.precision",
    "proposal_threshold": "estimator.proposal_threshold",
    "support_threshold": "estimator.support_threshold",
    "joint_threshold": "estimator.joint_threshold",
    "keypoint_threshold": "estimator.keypoint_threshold",
    "second_look": "estimator.second_look",
    "second_look_threshold": "estimator.second_look_threshold",
    "duplicate_distance": "estimator.duplicate_distance",
    "floor_tolerance": "estimator.floor_tolerance",
    "max_people": "estimator.max_people",
    "recenter": "estimator.recenter",
    "recenter_distance": "estimator.recenter_distance",
    "refine": "estimator.refine",
    "track_gate_mm": "tracking.gate_mm",
    "track_max_age_s": "tracking.max_age_s",
    "track_max_missed": "tracking.max_missed",
    "track_confirm_after": "tracking.confirm_after",
    "track_smooth": "tracking.smooth",
    "track_joint_noise_mm": "tracking.joint_noise_mm",
}
DETECTOR = {"reliability": "qos.reliability"}
_PUBLISHED_STREAM = {
    "moments": "max_frame_sets",
    "jitter_ms": "faults.jitter_ms",
    "drop": "faults.drop",
    "wait_for": "lockstep.wait_for",
}
PLAYER = {
    **_PUBLISHED_STREAM,
    "start_timeout_s": "lockstep.start_timeout_s",
    "step_timeout_s": "lockstep.step_timeout_s",
}
SIMULATOR = {**_PUBLISHED_STREAM, "noise_px": "faults.noise_px", "miss": "faults.miss"}
