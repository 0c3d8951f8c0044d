"""Writes small ONNX graphs with the inputs and outputs of published pose nets, in place of their weights.

They see people as `paint` draws them: a spot of its own colour for each joint of each person, on black. A
graph undoes the normalization that its family expects, finds the spots' centres, and answers them in its
family's layout: a wrong order of colours, mean, letterbox, crop or layout moves or loses people.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from voxelpose_core.detectors.network_images import IMAGENET_MEAN, IMAGENET_STD

PEOPLE = 2
JOINTS = 17
FLOAT, HALF, INT32, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32, TensorProto.INT64
# Green tells the person, red and blue the joint: no colour is a darker one of another, so that the blurred
# edges of spots look like none.
_GREEN = (90, 230)


def colour(person: int, joint: int) -> tuple[int, int, int]:
    """Red, green, blue of a joint's spot."""
    return 15 * joint, _GREEN[person], 255 - 15 * joint


def paint(people: np.ndarray, size: tuple[int, int], radius: int = 6) -> np.ndarray:
    """BGR image (H, W, 3) uint8 of that (width, height) with a spot at each joint of people (P, 17, 2)."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for person, joints in enumerate(people):
        for joint, (x, y) in enumerate(np.asarray(joints).round().astype(int)):
            rows, columns = slice(y - radius, y + radius + 1), slice(x - radius, x + radius + 1)
            image[rows, columns] = colour(person, joint)[::-1]
    return image


class Graph:
    """A graph in the making; each method adds an operator and answers the name of its output."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.constants: list = []

    def constant(self, values: np.ndarray | Sequence | float, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def scaled(self, values: str, factor: float, offset: float = 0.0) -> str:
        return self.add("Add", self.add("Mul", values, self.constant(factor)), self.constant(offset))

    def reshaped(self, values: str, *shape: int) -> str:
        return self.add("Reshape", values, self.constant(shape, np.int64))

    def columns(self, values: str, first: int, last: int) -> str:
        """values[..., first:last]"""
        ends = [self.constant([end], np.int64) for end in (first, last, -1)]
        return self.add("Slice", values, *ends)

    def bytes(self, inputs: Sequence, outputs: Sequence, metadata: dict[str, str] | None = None) -> bytes:
        """The ONNX file; inputs and outputs are (name, type, shape)."""
        values = [[helper.make_tensor_value_info(*entry) for entry in side] for side in (inputs, outputs)]
        graph = helper.make_graph(self.nodes, "test", *values, initializer=self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        helper.set_model_props(model, metadata or {})
        return model.SerializeToString()


def spots(graph: Graph, pixels: str, people: int, joints: int = JOINTS) -> tuple[str, str]:
    """Centres (B, N, 2) x, y and presence (B, N, 1) of the N = people * joints spots in (B, 3, H, W) RGB."""
    colours = np.array([colour(p, j) for p in range(people) for j in range(joints)], np.float32)
    if people == 1:
        # Any person: green does not matter.
        colours[:, 1] = 0
        pixels = graph.add("Mul", pixels, graph.constant(np.array([1, 0, 1]).reshape(1, 3, 1, 1)))
    weights = graph.constant((-2 * colours)[:, :, None, None])
    product = graph.add("Conv", pixels, weights, graph.constant((colours**2).sum(1)))
    squares = graph.add("ReduceSum", graph.add("Mul", pixels, pixels), graph.constant([1], np.int64))
    distance = graph.add("Add", product, squares)
    mask = graph.add("Relu", graph.scaled(distance, -1 / 150, 1.0))
    across = graph.add("ReduceSum", mask, graph.constant([2], np.int64), keepdims=0)
    down = graph.add("ReduceSum", mask, graph.constant([3], np.int64), keepdims=0)
    total = graph.add("ReduceSum", across, graph.constant([2], np.int64))
    safe = graph.add("Max", total, graph.constant(1e-6))
    centres = []
    for profile in (across, down):
        # Positions 0, 1, 2 ... along the profile, whatever its length.
        ones = graph.add("Add", graph.add("Mul", profile, graph.constant(0.0)), graph.constant(1.0))
        places = graph.scaled(graph.add("CumSum", ones, graph.constant(2, np.int64)), 1.0, -1.0)
        moment = graph.add("ReduceSum", graph.add("Mul", profile, places), graph.constant([2], np.int64))
        centres.append(graph.add("Div", moment, safe))
    present = graph.add("Min", graph.scaled(total, 0.25), graph.constant(1.0))
    return graph.add("Concat", *centres, axis=2), present


def _people(graph: Graph, pixels: str, people: int = PEOPLE) -> tuple[str, str, str]:
    """Keypoints (B, P, 17, 3), boxes (B, P, 4) and scores (B, P, 1), in pixels of the input."""
    centres, present = spots(graph, pixels, people)
    keypoints = graph.reshaped(graph.add("Concat", centres, present, axis=2), -1, people, JOINTS, 3)
    places = graph.columns(keypoints, 0, 2)
    low = graph.add("ReduceMin", places, axes=[2], keepdims=0)
    high = graph.add("ReduceMax", places, axes=[2], keepdims=0)
    scores = graph.add("ReduceMean", graph.columns(keypoints, 2, 3), axes=[2], keepdims=0)
    return keypoints, graph.add("Concat", low, high, axis=2), scores


def _twice(graph: Graph, values: str, axis: int, worse: str) -> str:
    """Each person a second time, as nets answer them before suppression."""
    return graph.add("Concat", values, worse, axis=axis)


def _pixels(
    graph: Graph, name: str, dtype: int, mean: Sequence[float], std: Sequence[float], rgb: bool
) -> str:
    """The input as (B, 3, H, W) RGB from 0 to 255."""
    given = graph.add("Cast", name, to=FLOAT) if dtype != FLOAT else name
    shape = (1, 3, 1, 1)
    scaled = graph.add("Mul", given, graph.constant(np.reshape(std, shape)))
    pixels = graph.add("Add", scaled, graph.constant(np.reshape(mean, shape)))
    return pixels if rgb else graph.add("Gather", pixels, graph.constant([2, 1, 0], np.int64), axis=1)


def rtmo(size: tuple[int, int] = (256, 256), batch: int | str = "batch", dtype: int = FLOAT) -> bytes:
    """RTMO: dets (B, 4, 5), keypoints (B, 4, 17, 3); each person twice."""
    graph = Graph()
    keypoints, boxes, scores = _people(graph, _pixels(graph, "input", dtype, (0,) * 3, (1,) * 3, False))
    dets = graph.add("Concat", boxes, scores, axis=2)
    worse = graph.add("Concat", boxes, graph.scaled(scores, 0.9), axis=2)
    graph.add("Identity", _twice(graph, dets, 1, worse), output="dets")
    graph.add("Identity", _twice(graph, keypoints, 1, graph.scaled(keypoints, 1.0, 1.5)), output="keypoints")
    outputs = [("dets", FLOAT, (batch, "N", 5)), ("keypoints", FLOAT, (batch, "N", JOINTS, 3))]
    return graph.bytes([("input", dtype, (batch, 3, size[1], size[0]))], outputs)


def yolo_pose(
    size: tuple[int, int] | None = (256, 256),
    batch: int | str = 1,
    dtype: int = FLOAT,
    suppressed: bool = False,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """YOLO-pose: (B, 56, 4), each person twice; or with suppression inside (B, 2, 57)."""
    graph = Graph()
    keypoints, boxes, scores = _people(graph, _pixels(graph, "images", dtype, (0,) * 3, (255,) * 3, True))
    # Coordinates of pixel edges.
    shifted = graph.add("Add", keypoints, graph.constant([0.5, 0.5, 0.0]))
    numbers = graph.reshaped(shifted, -1, PEOPLE, 3 * JOINTS)
    if suppressed:
        classes = graph.scaled(scores, 0.0)
        answer = graph.add("Concat", boxes, scores, classes, numbers, axis=2)
        shape = (batch, PEOPLE, 57)
    else:
        low, high = graph.columns(boxes, 0, 2), graph.columns(boxes, 2, 4)
        centre = graph.scaled(graph.add("Add", low, high), 0.5)
        first = graph.add("Concat", centre, graph.add("Sub", high, low), scores, numbers, axis=2)
        worse = graph.add(
            "Concat", centre, graph.add("Sub", high, low), graph.scaled(scores, 0.8), numbers, axis=2
        )
        answer = graph.add("Transpose", _twice(graph, first, 1, worse), perm=[0, 2, 1])
        shape = (batch, 56, 2 * PEOPLE)
    graph.add("Cast", answer, output="output0", to=dtype)
    sides = ("height", "width") if size is None else (size[1], size[0])
    return graph.bytes([("images", dtype, (batch, 3, *sides))], [("output0", dtype, shape)], metadata)


def rtmpose(
    size: tuple[int, int] = (192, 256),
    batch: int | str = "batch",
    dtype: int = FLOAT,
    joints: int = JOINTS,
    peak: float = 0.9,
    swapped: bool = False,
) -> bytes:
    """RTMPose: simcc_x (B, J, 2 W) and simcc_y (B, J, 2 H), peaks of that height; no order of the outputs."""
    graph = Graph()
    pixels = _pixels(graph, "input", dtype, IMAGENET_MEAN, IMAGENET_STD, True)
    centres, present = spots(graph, pixels, 1)
    if joints > JOINTS:
        # The joints that no spot stands for are where the nose is.
        order = graph.constant([*range(JOINTS), *[0] * (joints - JOINTS)], np.int64)
        centres, present = (graph.add("Gather", values, order, axis=1) for values in (centres, present))
    names = ["simcc_x", "simcc_y"]
    for axis, name in enumerate(names):
        places = graph.constant(np.arange(2 * size[axis]).reshape(1, 1, -1) / 2)
        distance = graph.add("Abs", graph.add("Sub", places, graph.columns(centres, axis, axis + 1)))
        response = graph.add("Mul", graph.scaled(distance, -0.01, peak), present)
        graph.add("Cast", response, output=name, to=dtype)
    outputs = [(name, dtype, (batch, "joints", 2 * size[axis])) for axis, name in enumerate(names)]
    return graph.bytes(
        [("input", dtype, (batch, 3, size[1], size[0]))], outputs[::-1] if swapped else outputs
    )


def persons(kind: str, size: tuple[int, int] = (256, 256), batch: int | str = "batch") -> bytes:
    """Boxes around the people, 6 pixels wider: "rtmdet" or "yolox" as MMDeploy writes them."""
    graph = Graph()
    name = "input"
    if kind == "yolox":
        # As its first layer does: every other row, and put together again.
        halves = [[graph.constant([v], np.int64) for v in (start, 2**31 - 1, 2, 2)] for start in (0, 1)]
        rows = [graph.add("Slice", name, start, end, axis, step) for start, end, axis, step in halves]
        name = graph.reshaped(graph.add("Concat", *rows, axis=3), -1, 3, size[1], size[0])
        pixels = _pixels(graph, name, FLOAT, (0,) * 3, (1,) * 3, False)
    else:
        pixels = _pixels(graph, name, FLOAT, IMAGENET_MEAN[::-1], IMAGENET_STD[::-1], False)
    _, boxes, scores = _people(graph, pixels)
    wider = graph.add("Add", boxes, graph.constant([-6, -6, 6, 6]))
    person = graph.add("Concat", wider, scores, axis=2)
    # A dog where the first person is, with the best score: other classes are no people.
    dog = graph.add("Concat", wider, graph.scaled(scores, 0.0, 1.0), axis=2)
    graph.add("Concat", dog, person, axis=1, output="dets")
    flat = graph.reshaped(scores, -1, PEOPLE)
    classes = [graph.add("Cast", graph.scaled(flat, 0.0, label), to=INT64) for label in (16.0, 0.0)]
    graph.add("Concat", *classes, axis=1, output="labels")
    outputs = [("dets", FLOAT, (batch, "N", 5)), ("labels", INT64, (batch, "N"))]
    return graph.bytes([("input", FLOAT, (batch, 3, size[1], size[0]))], outputs)


def yolox_cells(decoded: bool, size: tuple[int, int] = (256, 256), classes: int = 80) -> bytes:
    """YOLOX's own export: (1, cells, 5 + classes), people in the first two; in pixels if decoded."""
    graph = Graph()
    _, boxes, scores = _people(graph, _pixels(graph, "images", FLOAT, (0,) * 3, (1,) * 3, False))
    low, high = graph.columns(boxes, 0, 2), graph.columns(boxes, 2, 4)
    centre = graph.scaled(graph.add("Add", low, high), 0.5)
    sides = graph.scaled(graph.add("Sub", high, low), 1.0, 12.0)
    cells = [(size[0] // s) * (size[1] // s) for s in (8, 16, 32)]
    grid = [
        np.stack(np.meshgrid(*(np.arange(length // s) for length in size)), -1).reshape(-1, 2)
        for s in (8, 16, 32)
    ]
    rest = np.zeros((1, sum(cells) - PEOPLE, 5 + classes), np.float32)
    if decoded:
        strides = np.repeat([8, 16, 32], cells)[:, None]
        rest[0, :, :2] = (np.concatenate(grid) * strides)[PEOPLE:]
    else:
        # The first cells lie in the first row: 0 and 1.
        offsets = np.array([[[column, 0] for column in range(PEOPLE)]])
        centre = graph.add("Sub", graph.scaled(centre, 1 / 8), graph.constant(offsets))
        sides = graph.add("Log", graph.scaled(sides, 1 / 8))
    chances = graph.add("Concat", scores, *[graph.scaled(scores, 0.1)] * (classes - 1), axis=2)
    people = graph.add("Concat", centre, sides, scores, chances, axis=2)
    graph.add("Concat", people, graph.constant(rest), axis=1, output="output")
    outputs = [("output", FLOAT, (1, sum(cells), 5 + classes))]
    return graph.bytes([("images", FLOAT, (1, 3, size[1], size[0]))], outputs)


def movenet(
    multiple: bool, size: tuple[int, int] | None = (256, 256), dtype: int = INT32, people: int = PEOPLE
) -> bytes:
    """MoveNet: (1, 6, 56) or (1, 1, 17, 3); images (1, H, W, 3)."""
    graph = Graph()
    pixels = graph.add("Transpose", graph.add("Cast", "input", to=FLOAT), perm=[0, 3, 1, 2])
    shape = graph.add("Cast", graph.add("Shape", "input"), to=FLOAT)
    sides = graph.add("Gather", shape, graph.constant([2, 1], np.int64))
    keypoints, boxes, scores = _people(graph, pixels, PEOPLE if multiple else 1)
    places = graph.add("Div", graph.scaled(graph.columns(keypoints, 0, 2), 1.0, 0.25), sides)
    swapped = graph.add("Gather", places, graph.constant([1, 0], np.int64), axis=3)
    keypoints = graph.add("Concat", swapped, graph.columns(keypoints, 2, 3), axis=3)
    if multiple:
        numbers = graph.reshaped(keypoints, -1, PEOPLE, 3 * JOINTS)
        found = graph.add("Concat", numbers, boxes, scores, axis=2)
        nobody = graph.constant(np.zeros((1, 6 - 2 * PEOPLE, 56)))
        worse = graph.scaled(found, 0.99)
        graph.add("Concat", found, worse, nobody, axis=1, output="output_0")
        outputs = [("output_0", FLOAT, (1, 6, 56))]
    else:
        graph.add("Identity", keypoints, output="output_0")
        outputs = [("output_0", FLOAT, (1, 1, JOINTS, 3))]
    given = ("height", "width") if size is None else (size[1], size[0])
    return graph.bytes([("input", dtype, (1, *given, 3))], outputs)


def classifier() -> bytes:
    """A net that tells classes of images: (B, 1000)."""
    graph = Graph()
    pooled = graph.add("GlobalAveragePool", "data")
    graph.add("MatMul", graph.reshaped(pooled, -1, 3), graph.constant(np.zeros((3, 1000))), output="scores")
    return graph.bytes([("data", FLOAT, ("batch", 3, 224, 224))], [("scores", FLOAT, ("batch", 1000))])


def two_inputs() -> bytes:
    """A net of an image and a size."""
    graph = Graph()
    graph.add("Add", "image", "size", output="sum")
    shape = (1, 3, 64, 64)
    return graph.bytes([("image", FLOAT, shape), ("size", FLOAT, (1, 1, 1, 1))], [("sum", FLOAT, shape)])
