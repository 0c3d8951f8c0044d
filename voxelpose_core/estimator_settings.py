"""Settings of the estimator that do not depend on the weights."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class EstimatorSettings(BaseModel):
    """What may be tuned without other weights. Settings "of the voxel nets" do nothing with weights of
    the ray model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    proposal_threshold: float | None = Field(
        None,
        description="Root score that a person exceeds, with the ray model the confidence that a "
        "person reaches; None: what the weights say.",
    )
    support_threshold: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Of the voxel nets: mean heatmap value at the reprojected joints that a person "
        "reaches; people below it are false positives where rays of others cross. The second look "
        "asks for half of it.",
    )
    joint_threshold: float = Field(
        0.05, ge=0, le=1, description="Support from which a single joint is valid."
    )
    keypoint_threshold: float = Field(
        0.1, ge=0, le=1, description="2D keypoints with a lower score are ignored."
    )
    duplicate_distance: float = Field(
        200.0, ge=0, description="Of two skeletons whose joints are nearer in the mean, mm, one goes."
    )
    floor_tolerance: float = Field(
        300.0,
        ge=0,
        description="A person with a joint farther than this below the floor, mm, is dropped as a "
        "false positive, and counted.",
    )
    second_look: bool = Field(
        True,
        description="Of the voxel nets: look once more for people, in the 2D detections that no "
        "skeleton explains, where two views have some. (Heatmaps of a backbone have no detections.)",
    )
    second_look_threshold: float = Field(
        0.05,
        description="Root score that people of the second look exceed, who also fit 2D people in "
        "two views.",
    )
    max_people: int = Field(10, ge=1, description="At most so many people at once.")
    min_cameras: int = Field(2, ge=2, description="Fewer cameras with a frame give no estimate.")
    recenter: bool = Field(
        True,
        description="Of the voxel nets: run the pose net a second time, centred on its own mid-hip, for people whom "
        "their proposal missed by more than recenter_distance.",
    )
    recenter_distance: float = Field(
        60.0, ge=0, description="Between mid-hip and proposal, mm, from which recenter acts."
    )
    refine: bool = Field(
        True,
        description="Of the voxel nets: move joints to the nearby place that the heatmaps agree on.",
    )
