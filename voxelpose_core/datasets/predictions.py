"""2D predictions from JSON, or from the original's pickle, of which nothing is executed."""

from __future__ import annotations

import collections
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.keypoint_files.ours import checked_frames, parse_people, read_keypoints_json

_MAX_BYTES = 512 * 2**20

# What pickles of numpy arrays are made of, under the names that old and new versions write.
_ARRAY = np.zeros(1)
_NUMPY = {
    "_reconstruct": _ARRAY.__reduce__()[0],
    "_frombuffer": _ARRAY.__reduce_ex__(5)[0],
    "scalar": np.float64(0).__reduce__()[0],
    "ndarray": np.ndarray,
    "dtype": np.dtype,
}
_NUMPY_MODULES = {
    "numpy",
    "numpy.core.multiarray",
    "numpy.core.numeric",
    "numpy._core.multiarray",
    "numpy._core.numeric",
}
_CONTAINERS = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): collections.defaultdict,
    ("builtins", "list"): list,
    ("__builtin__", "list"): list,
}


class _DataUnpickler(pickle.Unpickler):
    """Builds containers, numbers and numpy arrays; any other name is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CONTAINERS:
            return _CONTAINERS[module, name]
        if module in _NUMPY_MODULES and name in _NUMPY:
            return _NUMPY[name]
        if (module, name) == ("_codecs", "encode"):
            return _latin1_bytes
        raise pickle.UnpicklingError(f"it asks for '{module}.{name}'")


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """Old protocols write bytes as text with this call; other encodings are not needed."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding '{encoding}'")
    return text.encode("latin1")


def load_pickle(path: Path | str) -> Any:
    """The data in a pickle that holds containers, numbers, text and numpy arrays only.

    Raises:
        InputError: the file cannot be read, is broken, or asks for anything else.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: is larger than 512 MiB, expected a file of predictions")
        with path.open("rb") as file:
            return _DataUnpickler(file, encoding="latin1").load()
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: {error}, expected a pickle of plain data") from None
    except Exception as error:  # A broken pickle raises almost anything.
        detail = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path}: is a broken pickle ({detail})") from None


def read_predictions(path: Path | str, camera_count: int) -> dict[int, list[np.ndarray | None]]:
    """2D detections by frame and camera, from a .json or .pkl file.

    Both map "{camera index}_{frame}" to a list of {"pred": 17 x [x, y, score]}, pixels and scores
    from 0 to 1, COCO-17.

    Returns:
        by frame: per camera (P, 17, 3) float32, or None where the file has no such key.

    Raises:
        InputError: naming the file and the key that is wrong.
    """
    path = Path(path)
    if path.suffix == ".json":
        return read_keypoints_json(path, camera_count)
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected keys '0_350'")
    frames: dict[int, list[np.ndarray | None]] = {}
    for key, people in content.items():
        match = re.fullmatch(r"(\d+)_(\d+)", str(key))
        if match is None:
            raise InputError(f"{path}: key '{key}', expected '{{camera index}}_{{frame}}'")
        camera, frame = int(match[1]), int(match[2])
        # The original's sample files list more cameras than the rig has.
        if camera < camera_count:
            views = frames.setdefault(frame, [None] * camera_count)
            views[camera] = parse_people(people, f"{path}: key '{key}'")
    return checked_frames(frames, path)
