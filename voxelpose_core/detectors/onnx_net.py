"""A net in an ONNX file: what goes in, what comes out, and running it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.detectors.onnx_session import open_session
from voxelpose_core.detectors.onnx_structure import first_operators
from voxelpose_core.errors import InputError

_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
}
# Sides of images for a net that takes any size.
USUAL_SIDE = 640


class OnnxNet:
    """A net with one image input, tried once on a black image.

    Args:
        path: of the ONNX file.
        threads: CPU threads, 0 for all.
        device: see `onnx_session.open_session`.

    Attributes:
        path: of the file.
        channels_last: the input is (B, H, W, 3) and not (B, 3, H, W).
        input_size: (width, height); None where the net takes any.
        batch: images at a time; None where the net takes any number.
        dtype: of the input.
        outputs: names and shapes of what it answers for one image, the batch's axis among them.
        metadata: what the exporter wrote into the file.

    Raises:
        InputError: when the file cannot be read, is no ONNX file, has other inputs than one image, or
            does not run.
    """

    def __init__(self, path: Path, threads: int = 0, device: str = "cpu"):
        self.path = path
        try:
            with path.open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise InputError(
                f"detector {path}: cannot be read ({error.strerror}), expected an ONNX file"
            ) from None
        if empty:
            raise InputError(f"detector {path}: empty file, expected an ONNX file")
        try:
            # From its path: large nets keep their weights in a file beside it.
            self._session = open_session(str(path), threads, device)
        except InputError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no common class
            raise InputError(
                f"detector {path}: no ONNX file, or a damaged one ({_first_line(error)}): fetch or export "
                "it again"
            ) from None
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        self._read_input()
        self.outputs = self._try()

    @property
    def signature(self) -> str:
        """Inputs and outputs with their shapes, for messages."""
        given = ", ".join(
            f"{entry.name} {_shape(entry.shape)} {_type(entry.type)}" for entry in self._session.get_inputs()
        )
        answers = ", ".join(f"{name} {_shape(shape)}" for name, shape in self.outputs)
        return f"input {given}; output {answers}"

    @property
    def takes_floats(self) -> bool:
        """The input is (B, 3, H, W), of a floating-point type."""
        return not self.channels_last and bool(np.issubdtype(self.dtype, np.floating))

    def input_operators(self) -> set[str]:
        """Types of the operators that the image comes to first."""
        try:
            return first_operators(self.path.read_bytes(), self._name)
        except ValueError:
            # onnxruntime has read it: another format of its own, such as .ort.
            return set()

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """The net's answers, all floating-point numbers as float32.

        Args:
            images: (B, 3, H, W), any number of them; they are brought into the input's layout and type.
        """
        if self.channels_last:
            images = images.transpose(0, 2, 3, 1)
        count = len(images)
        size = self.batch or count
        answers = [self._run_batch(images[at : at + size], size) for at in range(0, count, size)]
        if len(answers) == 1:
            return answers[0]
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    def _run_batch(self, images: np.ndarray, size: int) -> list[np.ndarray]:
        given, there = images.astype(self.dtype, copy=False), len(images)
        if there < size:
            given = np.concatenate([given, np.zeros((size - there, *given.shape[1:]), given.dtype)])
        answers = self._session.run(None, {self._name: given})
        return [
            answer[:there].astype(np.float32) if answer.dtype == np.float16 else answer[:there]
            for answer in map(np.asarray, answers)
        ]

    def _read_input(self) -> None:
        inputs = self._session.get_inputs()
        shape = list(inputs[0].shape) if len(inputs) == 1 else []
        self._name = inputs[0].name if inputs else ""
        self.channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
        sides = shape[1:3] if self.channels_last else shape[2:4]
        is_image = len(shape) == 4 and 3 in (shape[1], shape[3]) and inputs[0].type in _TYPES
        if not is_image:
            given = ", ".join(f"{i.name} {_shape(i.shape)} {_type(i.type)}" for i in inputs)
            raise InputError(
                f"detector {self.path}: inputs {given or 'none'}, expected one image input "
                "(batch, 3, height, width) or (batch, height, width, 3)"
            )
        self.dtype = _TYPES[inputs[0].type]
        self.batch = _fixed(shape[0])
        height, width = map(_fixed, sides)
        self.input_size = (width, height) if width and height else None

    def _try(self) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes of the answers for one black image."""
        width, height = self.input_size or (USUAL_SIDE, USUAL_SIDE)
        try:
            answers = self.run(np.zeros((1, 3, height, width), np.float32))
        except Exception as error:
            raise InputError(
                f"detector {self.path}: does not run on an image of {width}x{height} pixels "
                f"({_first_line(error)}): export it again for onnxruntime"
            ) from None
        names = [entry.name for entry in self._session.get_outputs()]
        return [(name, answer.shape) for name, answer in zip(names, answers, strict=True)]


def _fixed(side: Any) -> int | None:
    """A dimension that the file fixes; names, None and -1 stand for any."""
    return side if isinstance(side, int) and side > 0 else None


def _shape(shape: Sequence[Any]) -> str:
    return "(" + ", ".join("?" if side is None else str(side) for side in shape) + ")"


def _type(name: str) -> str:
    return name.removeprefix("tensor(").removesuffix(")")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
