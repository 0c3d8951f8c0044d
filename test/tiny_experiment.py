"""An experiment small enough to train in a test: synthetic people, four cameras, coarse grids."""

import numpy as np
import yaml

from voxelpose_core.config import config_from_dict
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig, save_rig
from voxelpose_core.geometry.space import Space

IMAGE_SIZE = (256, 192)
SPACE = Space((0, 0, 1000), (3200, 3200, 2000))


def look_at(center, target):
    """(3, 3) rotation from world to a camera at `center` that looks at `target`."""
    forward = np.subtract(target, center) / np.linalg.norm(np.subtract(target, center))
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def tiny_rig():
    """Four cameras in the corners of a room of 7 m."""
    K = [[180.0, 0, 128], [0, 180.0, 96], [0, 0, 1]]
    centers = [(x, y, 2200.0) for x, y in ((3500, 3500), (-3500, 3500), (-3500, -3500), (3500, -3500))]
    cameras = [
        Camera(f"cam{i}", IMAGE_SIZE, K, np.zeros(5), look_at(center, (0, 0, 800)), center)
        for i, center in enumerate(centers)
    ]
    return Rig(tuple(cameras), SPACE, "tiny")


def tiny_settings(folder, **sections):
    """The configuration as nested upper-case keys; `sections` are added to those of that name."""
    rig = folder / "rig.yaml"
    if not rig.is_file():
        save_rig(tiny_rig(), rig)
    settings = {
        "GPUS": "",
        "WORKERS": 0,
        "PRINT_FREQ": 1000,
        "OUTPUT_DIR": str(folder / "output"),
        "LOG_DIR": str(folder / "log"),
        "DATASET": {"TRAIN_DATASET": "synthetic", "TEST_DATASET": "synthetic", "CAMERA_NUM": 4},
        "SYNTHETIC": {"RIG": str(rig), "TRAIN_FRAMES": 8, "TEST_FRAMES": 4, "MAX_PEOPLE": 2},
        "NETWORK": {
            "NUM_JOINTS": 15,
            "IMAGE_SIZE": list(IMAGE_SIZE),
            "HEATMAP_SIZE": [64, 48],
            "SIGMA": 2.0,
        },
        "TRAIN": {"LR": 1e-3, "BATCH_SIZE": 2, "END_EPOCH": 1},
        "TEST": {"BATCH_SIZE": 4},
        "DEBUG": {"DEBUG": False},
        "MULTI_PERSON": {
            "SPACE_SIZE": SPACE.size.tolist(),
            "SPACE_CENTER": SPACE.center.tolist(),
            "INITIAL_CUBE_SIZE": [12, 12, 8],
            "MAX_PEOPLE_NUM": 4,
            "THRESHOLD": 0.1,
        },
        "PICT_STRUCT": {"CUBE_SIZE": [8, 8, 8]},
    }
    for name, values in sections.items():
        if isinstance(values, dict):
            settings[name] = {**settings.get(name, {}), **values}
        else:
            settings[name] = values
    return settings


def tiny_config(folder, **sections):
    """The configuration itself."""
    return config_from_dict(tiny_settings(folder, **sections), "tiny experiment")


def write_config(folder, **sections):
    """The configuration as FOLDER/tiny.yaml."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_settings(folder, **sections)))
    return path
