#!/usr/bin/env python3
"""Write the ray model as fixed graphs for onnxruntime, which run it on CPUs.

    python training/write_ray_graphs.py

They hold what the code of `voxelpose_core/models/ray_frame.py` computes, without weights: these come from
the `*.safetensors` that a user loads, so the same graphs serve all weights of one configuration. They are
to be written anew only when that code or the default configuration changes. Needs the package `onnx`.
"""

from __future__ import annotations

import io
import json
import sys
import warnings
from pathlib import Path

import torch
from torch import nn

from voxelpose_core.command import Parser, run_command
from voxelpose_core.errors import InputError
from voxelpose_core.models.ray_frame import RayFrame, RayProposals
from voxelpose_core.models.ray_pose import RayConfig, RayPose
from voxelpose_core.models.rays import detection_pairs
from voxelpose_core.ray_runtime import (
    CONFIG_KEY,
    FOLDER,
    FRAME,
    PROPOSALS,
    architecture,
)

# The opset and the file format that the oldest onnxruntime of requirements/core.txt reads.
OPSET, IR_VERSION = 17, 8
# Axes whose length differs from frame set to frame set; of everything else the first one.
_SIZES = {
    "cameras": {0: "views"},
    "directions": {0: "views", 1: "detections"},
    "scores": {0: "views", 1: "detections"},
    "pairs": {0: "pairs"},
    "shares": {0: "candidates", 1: "views", 2: "detections"},
}


def main() -> int:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder (default: where they ship)")
    write_graphs(parser.parse_args().out)
    return 0


def write_graphs(folder: Path, config: RayConfig = RayConfig()) -> None:
    """Write both graphs.

    Args:
        folder: where to; existing graphs are replaced.
        config: of the weights that they will run.

    Raises:
        InputError: where the package `onnx` is missing.
    """
    model = RayPose(config).eval()
    for parameter in model.parameters():  # the exporter makes one of equal ones, such as zeros
        nn.init.normal_(parameter)
    cameras, directions, scores, centers, last, has_last = _example(len(model._mirror))
    pairs = torch.from_numpy(detection_pairs(*scores.shape[:2]))
    rays = {"cameras": cameras, "directions": directions, "scores": scores}
    proposals = _exported(
        RayProposals(config.proposals), rays | {"pairs": pairs}, ("centers", "votes"), config
    )
    inputs = rays | {"centers": centers, "last": last, "has_last": has_last}
    outputs = ("joints", "covariances", "confidence", "support", "shares")
    frame = _exported(RayFrame(model), inputs, outputs, config)
    for name, content in ((PROPOSALS, proposals), (FRAME, frame)):
        (folder / name).write_bytes(content)


def _example(joints: int) -> tuple[torch.Tensor, ...]:
    """Inputs of some size; the graphs know none of it but the number of joints."""
    generator = torch.Generator().manual_seed(0)
    views, detections, candidates = 4, 5, 7

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    directions = nn.functional.normalize(draw(views, detections, joints, 3), dim=-1)
    return (
        draw(views, 36),
        directions,
        draw(views, detections, joints).abs(),
        draw(candidates, 3),
        draw(candidates, joints, 3),
        torch.ones(candidates, dtype=torch.bool),
    )


def _exported(
    module: nn.Module, inputs: dict[str, torch.Tensor], outputs: tuple[str, ...], config: RayConfig
) -> bytes:
    """The module as ONNX without its weights."""
    try:
        import onnx
    except ImportError:
        raise InputError("writing the graphs needs the package onnx: pip install onnx") from None
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer is deprecated, and warns of every size that is read. Its successor takes a minute and
        # needs onnxscript.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            # Weights are not there yet: they keep the names of the state dict.
            do_constant_folding=False,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: _SIZES.get(name, {0: "candidates"}) for name in (*inputs, *outputs)},
        )
    graph = onnx.load_from_string(buffer.getvalue())
    graph.ir_version = IR_VERSION
    _remove_weights(graph, onnx, {name.removeprefix("model.") for name, _ in module.named_parameters()})
    del graph.metadata_props[:]
    graph.metadata_props.add(key=CONFIG_KEY, value=json.dumps(architecture(config)))
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    return graph.SerializeToString()


def _remove_weights(graph, onnx, names: set[str]) -> None:
    """Parameters become initializers that are stored elsewhere: onnxruntime is given them."""
    for tensor in graph.graph.initializer:
        name = tensor.name.removeprefix("model.")
        if name in names:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            del tensor.external_data[:]
            tensor.external_data.add(key="location", value="weights")


if __name__ == "__main__":
    sys.exit(run_command(main))
