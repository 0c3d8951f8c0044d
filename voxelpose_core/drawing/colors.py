"""Colours of people and of pictures, BGR as OpenCV draws them."""

from __future__ import annotations

Color = tuple[int, int, int]
# Of a mask with one channel.
Gray = tuple[int]
# Colours are BGR, as OpenCV draws them.
PALETTE: tuple[Color, ...] = (
    (66, 92, 238),
    (196, 146, 24),
    (66, 168, 70),
    (30, 158, 244),
    (186, 78, 152),
    (158, 158, 24),
    (136, 92, 236),
    (62, 118, 164),
    (226, 112, 98),
    (72, 190, 166),
)
UNTRACKED: Color = (140, 140, 140)
WHITE: Color = (255, 255, 255)
INK: Color = (72, 64, 58)
EMPTY_VIEW: Color = (62, 56, 52)
SKY: Color = (253, 250, 248)
GROUND: Color = (228, 222, 216)
GRID: Color = (198, 190, 182)
SPACE_EDGE: Color = (196, 150, 104)
CAMERA_EDGE: Color = (128, 114, 104)


def person_color(track_id: int) -> Color:
    """BGR colour of a person; grey where nothing tracks."""
    return PALETTE[track_id % len(PALETTE)] if track_id >= 0 else UNTRACKED


def mix(first: Color, second: Color, share: float) -> Color:
    """A colour `share` of the way from the first to the second."""
    blue, green, red = (round(a + (b - a) * share) for a, b in zip(first, second))
    return blue, green, red


def darker(color: Color, keep: float = 0.55) -> Color:
    """The colour mixed with black."""
    return mix((0, 0, 0), color, keep)


def paler(color: Color, share: float = 0.5) -> Color:
    """The colour mixed with white."""
    return mix(color, WHITE, share)
