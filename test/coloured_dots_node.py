"""The node with a detector for pictures in which each joint is a dot of its own colour.

Real detectors need pictures of real people; this one lets a test draw people whose joints it knows.
With the argument `detector_node` it is that node instead.
"""

import sys

import numpy as np

from voxelpose_core.detectors import register_detector
from voxelpose_core.skeletons import COCO17

RADIUS = 3


def joint_color(joint):
    """BGR colour of a joint's dot."""
    return (40 + 10 * joint, 250 - 10 * joint, 255)


def draw_person(image, pixels, seen):
    """Draw the dots of one person's joints (17, 2) into an image."""
    import cv2

    for joint in np.flatnonzero(seen).tolist():
        center = tuple(int(round(float(v) * 16)) for v in pixels[joint])
        cv2.circle(image, center, RADIUS * 16, joint_color(joint), -1, cv2.LINE_8, shift=4)


class ColouredDots:
    """Finds the one person of a picture: the centre of each colour."""

    joint_set = COCO17

    def __init__(self, threads=0, device="cpu"):
        pass

    def detect(self, images):
        return [self._detect(image) for image in images]

    def _detect(self, image):
        person = np.zeros((1, len(COCO17), 3), np.float32)
        # Most of a picture is black.
        rows, columns = np.nonzero(image[..., 2] == joint_color(0)[2])
        colors = image[rows, columns]
        for joint in range(len(COCO17)):
            own = (colors == joint_color(joint)).all(axis=-1)
            if own.sum() > 4:
                person[0, joint] = columns[own].mean(), rows[own].mean(), 0.9
        return person if person.any() else person[:0]


if __name__ == "__main__":
    from voxelpose_ros import detector_node, node

    register_detector("coloured_dots", ColouredDots)
    # Tests wait for the next diagnostics after each bad message.
    node._DIAGNOSTICS_PERIOD_S = detector_node._DIAGNOSTICS_PERIOD_S = 0.25
    # The node refuses arguments that it does not know.
    is_detector = "detector_node" in sys.argv
    sys.exit((detector_node if is_detector else node).main([a for a in sys.argv if a != "detector_node"]))
