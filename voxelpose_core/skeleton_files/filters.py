"""What is changed in tracks on request: gaps filled, joints smoothed, short tracks left out."""

from __future__ import annotations

import dataclasses

import numpy as np

from voxelpose_core.skeleton_files.tracks import Track, Tracks

_ORDER = 2
# A filter that runs forwards and backwards attenuates twice; its cutoff is moved up, so that both passes
# together have their half-power point (-3 dB) where it was asked for (Winter, Biomechanics and Motor Control
# of Human Movement, 2009), here on the frequency axis of the digital filter (bilinear transform).
_TWO_PASSES = (2.0**0.5 - 1.0) ** (1.0 / (2 * _ORDER))


def fill_gaps(tracks: Tracks, seconds: float) -> Tracks:
    """Fill each joint's gaps that last at most so long, between valid entries before and after.

    Positions follow Akima's piecewise cubic through the valid entries, of which only the nearest three on
    either side count; a filled joint's score is the lower one of those at the gap's ends.
    """
    longest = int(np.floor(seconds * tracks.rate_hz + 1e-6))
    return dataclasses.replace(tracks, tracks=[_filled(track, longest) for track in tracks.tracks])


def max_cutoff_hz(rate_hz: float) -> float:
    """Cutoffs of `smooth` must lie below this."""
    return rate_hz / 2.0


def smooth(tracks: Tracks, cutoff_hz: float) -> Tracks:
    """Low-pass filter each joint without delay: Butterworth, second order, forwards and backwards.

    Runs of valid entries are filtered apart from each other, so that nothing passes a gap.

    Args:
        tracks: at a rate such that the cutoff lies below `max_cutoff_hz`.
        cutoff_hz: half-power frequency of both passes together.
    """
    from scipy.signal import butter, filtfilt  # takes seconds to import

    single = np.arctan(np.tan(np.pi * cutoff_hz / tracks.rate_hz) / _TWO_PASSES) / np.pi
    b, a = butter(_ORDER, single, fs=1.0)

    def smoothed(track: Track) -> Track:
        joints = track.joints.copy()
        for joint in range(joints.shape[1]):
            for run in _runs(np.isfinite(joints[:, joint]).all(axis=1)):
                count = run.stop - run.start
                pad = min(3 * max(len(a), len(b)), count - 1)
                joints[run, joint] = filtfilt(b, a, joints[run, joint], axis=0, padlen=pad)
        return dataclasses.replace(track, joints=joints)

    return dataclasses.replace(tracks, tracks=[smoothed(track) for track in tracks.tracks])


def _filled(track: Track, longest: int) -> Track:
    from scipy.interpolate import Akima1DInterpolator

    joints, scores = track.joints.copy(), track.scores.copy()
    for joint in range(joints.shape[1]):
        valid = np.isfinite(track.joints[:, joint]).all(axis=1)
        known = np.flatnonzero(valid)
        gaps = [g for g in _runs(~valid) if g.start > 0 and g.stop < len(valid)]
        gaps = [gap for gap in gaps if gap.stop - gap.start <= longest]
        if not gaps:
            continue
        curve = Akima1DInterpolator(known, track.joints[known, joint]) if len(known) > 2 else None
        for gap in gaps:
            rows = np.arange(gap.start, gap.stop)
            ends = track.joints[[gap.start - 1, gap.stop], joint]
            share = (rows - gap.start + 1)[:, None] / (len(rows) + 1)
            joints[gap, joint] = curve(rows) if curve else (1 - share) * ends[0] + share * ends[1]
            scores[gap, joint] = min(scores[gap.start - 1, joint], scores[gap.stop, joint])
    return dataclasses.replace(track, joints=joints, scores=scores)


def _runs(mask: np.ndarray) -> list[slice]:
    """Runs of true entries."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
