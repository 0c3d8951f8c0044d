"""A rig that is a little off, set right by the people whom its cameras share.

Cameras are knocked, tripods sink, boards were held askew: `refine` moves the cameras to where people's 2D
detections agree, and says so only where that is sure. The recording is split in two halves; each half's fit
is tried on the other, against the given rig. Only if both become better, by more than chance, is the fit of
both halves returned. A refusal is a result, with its reason in one line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from voxelpose_core.geometry.rig import Rig
from voxelpose_core.metrics.rig_error import rig_error
from voxelpose_core.self_calibration.adjustment import Adjustment, adjust
from voxelpose_core.self_calibration.adjustment_objective import AdjustmentSettings
from voxelpose_core.self_calibration.correspondence import linked_shares
from voxelpose_core.self_calibration.gauge import hold_world, relative_deviations
from voxelpose_core.self_calibration.halves import Halves, halves_in_time
from voxelpose_core.self_calibration.held_out import Disagreement, disagreement
from voxelpose_core.self_calibration.movement import uncovered
from voxelpose_core.self_calibration.observations import Recording, SharedPoses
from voxelpose_core.self_calibration.offsets import (
    LARGEST_SHARE,
    LEAST_LINKED,
    Alignment,
    OffsetEstimate,
    align,
    check_cameras,
    estimate_offsets,
    fit_halves,
    shared_counts,
)
from voxelpose_core.skeletons import JointSet

# Fewer poses are too few to split in halves. A camera with fewer shared poses stays where it is.
_LEAST_POSES, _LEAST_OWN_POSES = 6, 5
# The held-out disagreement must fall to this share of the given rig's; or to the second, where it falls in
# all parts of a recording that has so many alike: by so many standard errors of their mean.
_CLEAR_RATIO, _SURE_RATIO = 0.9, 0.965
_LEAST_BLOCKS, _SURETY = 4, 3.0
# No camera's own may rise by more than this factor.
_LARGEST_RISE = 1.1
# Halves must differ less from each other than this share of what the fit changes.
_HALVES_RATIO = 0.8
# Disagreements below this share of people's size are as good as none.
_LEAST_SHARE = 0.005
_DIAGNOSE = "check order, images and focal lengths with `voxelpose rig diagnose`"
_ONLY_OFFSETS = AdjustmentSettings(rotation_deg=0.0, center_mm=0.0, stages=2)


@dataclass(frozen=True)
class RefineSettings:
    """How a rig is refined.

    Attributes:
        rotation_deg: by how much the cameras may be off, a standard deviation per axis.
        center_mm: the same of their centres.
        search_s: time offsets of up to so much are found.
    """

    rotation_deg: float = 0.5
    center_mm: float = 20.0
    search_s: float = 2.0

    @property
    def adjustment(self) -> AdjustmentSettings:
        """What the solver is told."""
        return AdjustmentSettings(rotation_deg=self.rotation_deg, center_mm=self.center_mm)


@dataclass(frozen=True)
class CameraChange:
    """What refining did to one camera.

    Attributes:
        name: the camera's.
        moved_deg: angle between the given and the fitted rotation.
        moved_mm: distance between the given and the fitted centre.
        sigma_deg, sigma_mm: how sure that is: standard deviations relative to the other cameras.
        offset_ms: to be added to the camera's stamps, relative to the first camera; 0 where it is not known.
        offset_sigma_ms: its standard deviation; infinite where it is not known.
        before_share, after_share: held-out disagreement with the other cameras of the given and of the
            fitted rig, as a share of people's size in the image; NaN where nothing can be compared.
        before_px, after_px: the same in px.
        note: '' or why the camera stays where it is.
    """

    name: str
    moved_deg: float
    moved_mm: float
    sigma_deg: float
    sigma_mm: float
    offset_ms: float
    offset_sigma_ms: float
    before_share: float
    after_share: float
    before_px: float
    after_px: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class Refinement:
    """What came of refining a rig.

    Attributes:
        accepted: the fitted rig is better, as far as this recording can tell.
        reason: '' or in one line why it is not accepted.
        rig: the fitted rig if accepted, else the given one.
        proposal: the fitted rig, accepted or not; None where there was nothing to fit.
        cameras: one per camera; empty where there was nothing to fit.
        before_share, after_share: held-out disagreement of the given and of the fitted rig, mean of the
            cameras, as a share of people's size.
        frame_sets: how many different times were used.
        seconds: between the first and the last of them.
    """

    accepted: bool
    reason: str
    rig: Rig
    proposal: Rig | None = None
    cameras: tuple[CameraChange, ...] = ()
    before_share: float = float("nan")
    after_share: float = float("nan")
    frame_sets: int = 0
    seconds: float = 0.0


def refine(rig: Rig, recording: Recording, settings: RefineSettings = RefineSettings()) -> Refinement:
    """Fit the cameras of a rig to the people in a recording, if that makes it better.

    Args:
        rig: may be off by a few degrees and decimetres.
        recording: 2D detections of people who walk through what the cameras see; twenty seconds over three
            metres are enough. Cameras in the order of the rig.
        settings: how far the rig may be off.

    Raises:
        InputError: the recording has other cameras than the rig.
    """
    check_cameras(rig, recording)
    alignment = align(recording, rig.cameras, settings.search_s, settings.adjustment)
    reason = _unfit(alignment)
    if reason:
        return _refused(rig, alignment.poses, reason)
    halves = fit_halves(alignment, rig.cameras, recording.joint_set, settings.adjustment)
    offsets = estimate_offsets(alignment, halves, settings.search_s)
    trial = _try(rig, alignment.poses, recording.joint_set, halves)
    proposal = _proposal(rig, alignment)
    reason = (
        _unlinked(rig, alignment) or _objection(trial, rig) or _unsure(rig, proposal, halves, alignment.fit)
    )
    poses = alignment.poses
    return Refinement(
        not reason,
        reason,
        rig if reason else proposal,
        proposal,
        _changes(rig, proposal, alignment, offsets, trial),
        trial.before.share,
        trial.after.share,
        len(np.unique(poses.times)),
        _span(poses),
    )


def _refused(rig: Rig, poses: SharedPoses, reason: str) -> Refinement:
    return Refinement(False, reason, rig, frame_sets=len(np.unique(poses.times)), seconds=_span(poses))


def _span(poses: SharedPoses) -> float:
    return float(np.ptp(poses.times)) if len(poses) else 0.0


# --- is there enough to go by ---------------------------------------------------------------------------


def _unfit(alignment: Alignment) -> str:
    """'' or why the recording cannot tell how the cameras lie."""
    poses = alignment.poses
    if not len(poses):
        return f"no person of one camera fits one of another; if people are in view, {_DIAGNOSE}"
    fewest = min(mask.sum() for mask in halves_in_time(poses).masks)
    if len(poses) < _LEAST_POSES or 2 * fewest < _LEAST_POSES:
        return (
            f"two cameras or more see the same person {len(poses)} times (0.2 s apart or more), expected at "
            f"least {_LEAST_POSES}, better 100: record somebody who walks for twenty seconds"
        )
    return uncovered(alignment.fit.joints, alignment.fit.cameras)


def _unlinked(rig: Rig, alignment: Alignment) -> str:
    """'' or which camera sees people and hardly ever those of the others."""
    for name, share in zip(rig.names, linked_shares(alignment.poses, alignment.tracks), strict=True):
        if share < LEAST_LINKED:
            return (
                f"camera '{name}' sees people, but {100 * (1 - share):.0f} % of the time none of those whom "
                f"the others see; {_DIAGNOSE}"
            )
    return ""


# --- is the fit better ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Trial:
    """Each half's fit on the other half, and the given rig there.

    Attributes:
        before, after: of all poses; each is judged by the fit of the half that it is not in.
        halves_before, halves_after: means over the cameras in each half.
        blocks: mean change of the log of the disagreement in each block of time; negative is better.
    """

    before: Disagreement
    after: Disagreement
    halves_before: tuple[float, ...]
    halves_after: tuple[float, ...]
    blocks: np.ndarray

    @property
    def ratio(self) -> float:
        return self.after.share / self.before.share

    @property
    def surety(self) -> float:
        """Standard errors by which the blocks improve; 0 where there are too few to say."""
        if len(self.blocks) < _LEAST_BLOCKS:
            return 0.0
        error = self.blocks.std(ddof=1) / np.sqrt(len(self.blocks))
        return float(-self.blocks.mean() / max(error, 1e-9))


def _try(rig: Rig, poses: SharedPoses, joint_set: JointSet, fits: Sequence[Adjustment]) -> _Trial:
    halves = halves_in_time(poses)
    before, after = [], []
    for mask, other, fit in zip(halves.masks, halves.masks[::-1], fits, strict=True):
        # The given cameras with the offsets that suit them best: only the cameras are judged.
        given = adjust(rig.cameras, poses.select(mask), joint_set, _ONLY_OFFSETS)
        before.append(disagreement(rig.cameras, poses.select(other), given.offsets_s))
        after.append(disagreement(fit.cameras, poses.select(other), fit.offsets_s))
    whole_before, whole_after = (_joined(parts, halves) for parts in (before, after))
    change = np.log(np.maximum(whole_after.pose_shares, _LEAST_SHARE))
    change -= np.log(np.maximum(whole_before.pose_shares, _LEAST_SHARE))
    blocks = [change[halves.blocks == block] for block in np.unique(halves.blocks)]
    means = np.array([np.nanmean(block) for block in blocks if np.isfinite(block).any()])
    return _Trial(
        whole_before, whole_after, tuple(d.share for d in before), tuple(d.share for d in after), means
    )


def _joined(parts: Sequence[Disagreement], halves: Halves) -> Disagreement:
    """Of the second and the first half, in the order of the poses."""
    shape = (len(halves.blocks), parts[0].pose_shares.shape[1])
    shares, pixels = np.full(shape, np.nan), np.full(shape, np.nan)
    for part, mask in zip(parts, halves.masks[::-1], strict=True):
        shares[mask], pixels[mask] = part.pose_shares, part.pose_pixels
    return Disagreement(shares, pixels, np.any([part.by_pairs for part in parts], axis=0))


def _objection(trial: _Trial, rig: Rig) -> str:
    """'' or what speaks against the fit on detections that it was not made of."""
    before, after = trial.before, trial.after
    if not np.isfinite(trial.ratio):
        return "no camera can be compared with the others on held-out frames"
    said = (
        f"{100 * before.share:.2f} % of people's size with the given rig, {100 * after.share:.2f} % with the "
        "fitted one"
    )
    if after.share > LARGEST_SHARE:
        return (
            f"cameras disagree by {100 * after.share:.1f} % of people's size even with the fitted rig: "
            f"something else is wrong; {_DIAGNOSE}"
        )
    pairs = zip(trial.halves_before, trial.halves_after, strict=True)
    if trial.ratio > _SURE_RATIO or not all(fitted < given for given, fitted in pairs):
        return f"cameras do not agree better on held-out frames: {said}"
    if trial.ratio > _CLEAR_RATIO and trial.surety < _SURETY:
        return (
            f"cameras agree better on held-out frames, but not surely in all parts of the recording: {said}"
        )
    for name, own_before, own_after in zip(rig.names, before.shares, after.shares, strict=True):
        if own_after > _LARGEST_RISE * own_before:
            return (
                f"camera '{name}' would disagree more with the others on held-out frames: "
                f"{100 * own_before:.2f} % of people's size with the given rig, {100 * own_after:.2f} % with "
                "the fitted one"
            )
    return ""


def _unsure(rig: Rig, proposal: Rig, halves: Sequence[Adjustment], fit: Adjustment) -> str:
    """'' or, where the halves differ from each other as much as from the given rig, that."""
    joints = fit.joints[np.isfinite(fit.joints).all(axis=-1)]
    first, second = (dataclasses.replace(rig, cameras=half.cameras) for half in halves)
    between = rig_error(first, second, joints).pair_mm
    moved = rig_error(rig, proposal, joints).pair_mm
    if between <= _HALVES_RATIO * moved:
        return ""
    return (
        f"halves of the recording do not agree: 3D points move by {moved:.0f} mm against each other, and "
        f"differ by {between:.0f} mm between the halves; record people for longer, and in more places"
    )


# --- what is told ---------------------------------------------------------------------------------------


def _proposal(rig: Rig, alignment: Alignment) -> Rig:
    """The fitted cameras in the given world; those that share too few people as they were."""
    enough = shared_counts(alignment.poses) >= _LEAST_OWN_POSES
    cameras = hold_world(alignment.fit.cameras, rig.cameras)
    kept = [own if sees else given for own, given, sees in zip(cameras, rig.cameras, enough, strict=True)]
    return dataclasses.replace(rig, cameras=tuple(kept))


def _changes(
    rig: Rig, proposal: Rig, alignment: Alignment, offsets: OffsetEstimate, trial: _Trial
) -> tuple[CameraChange, ...]:
    enough = shared_counts(alignment.poses) >= _LEAST_OWN_POSES
    turn_sigmas, shift_sigmas = relative_deviations(proposal.cameras, alignment.fit.covariance)
    changes = []
    for index, (given, own) in enumerate(zip(rig.cameras, proposal.cameras, strict=True)):
        changes.append(
            CameraChange(
                given.name,
                float(np.degrees(Rotation.from_matrix(own.R @ given.R.T).magnitude())),
                float(np.linalg.norm(own.C - given.C)),
                float(np.degrees(turn_sigmas[index])),
                float(shift_sigmas[index]),
                float(offsets.offsets_ms[index]),
                float(offsets.sigma_ms[index]),
                float(trial.before.shares[index]),
                float(trial.after.shares[index]),
                float(trial.before.pixels[index]),
                float(trial.after.pixels[index]),
                "" if enough[index] else "stays where it is: it hardly shares anybody with the others",
            )
        )
    return tuple(changes)
