"""Settings of the estimator that do not depend on the weights."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class EstimatorSettings(BaseModel):
    """Inference settings that do not depend on the weights.

    Settings whose description begins with "Voxel nets:" have no effect with weights of the ray model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    proposal_threshold: float | None = Field(
        None,
        description="Minimum confidence of a person (voxel nets: minimum root score); None: that of "
        "the weights.",
    )
    support_threshold: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Voxel nets: minimum mean heatmap value at a person's reprojected joints; below "
        "it are false positives, where rays of other people cross. The second look asks for half.",
    )
    joint_threshold: float = Field(0.05, ge=0, le=1, description="Minimum support of a valid joint.")
    keypoint_threshold: float = Field(
        0.1, ge=0, le=1, description="2D keypoints with a lower score are ignored."
    )
    duplicate_distance: float = Field(
        200.0,
        ge=0,
        description="Skeletons closer than this (mean joint distance, mm) are one person: the best "
        "one stays.",
    )
    floor_tolerance: float = Field(
        300.0,
        ge=0,
        description="A person with a joint farther than this below the floor, mm, is dropped as a "
        "false positive and counted.",
    )
    second_look: bool = Field(
        True,
        description="Voxel nets: search again in the 2D detections that no skeleton explains, if two "
        "views have some.",
    )
    second_look_threshold: float = Field(
        0.05,
        description="Voxel nets: minimum root score in the second look, whose people must also fit "
        "2D detections in two views.",
    )
    last_pose: bool = Field(
        False,
        description="Ray model: estimate the joints of tracked people again beside the pose that the "
        "tracker expects. Steadier, but fast limbs come late; the tracker's smoothing does better.",
    )
    max_people: int = Field(10, ge=1, description="Largest number of people per frame set.")
    full_detection_every: int = Field(
        1,
        ge=1,
        description="Detect in whole images in every N-th frame set, and between them only around the "
        "people that the tracker expects: new people are found up to N - 1 frame sets later; 1: always.",
    )
    min_cameras: int = Field(2, ge=2, description="Smallest number of cameras in a frame set.")
    recenter: bool = Field(
        True,
        description="Voxel nets: run the pose net again, centred on its own mid-hip, for people "
        "farther than recenter_distance from their proposal.",
    )
    recenter_distance: float = Field(
        60.0,
        ge=0,
        description="Voxel nets: distance between mid-hip and proposal, mm, above which recenter acts.",
    )
    refine: bool = Field(
        True,
        description="Voxel nets: move joints to the nearby place on which the heatmaps agree.",
    )
