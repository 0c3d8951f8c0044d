"""What an ONNX file says of its graph, read without the package onnx: which operators take the input.

An ONNX file is a protocol buffer (onnx.proto3): ModelProto.graph is field 7, GraphProto.node field 1,
NodeProto.input field 1 and NodeProto.op_type field 4. Everything else is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator

_GRAPH, _NODE, _NODE_INPUT, _OP_TYPE = 7, 1, 1, 4
# Operators that pass an image on as it is.
_PASSED_THROUGH = frozenset(["Cast", "Identity"])
_NODE_OUTPUT = 2


def first_operators(content: bytes, input_name: str) -> set[str]:
    """Types of the operators that take an input of the graph, such as {"Conv"}; casts are passed.

    Args:
        content: the ONNX file.
        input_name: of the graph.

    Raises:
        ValueError: when it is not a protocol buffer.
    """
    taken, found = {input_name.encode()}, set()
    for graph in _fields(memoryview(content), _GRAPH):
        # Nodes stand in topological order, as ONNX demands.
        for node in _fields(graph, _NODE):
            if taken.isdisjoint(bytes(name) for name in _fields(node, _NODE_INPUT)):
                continue
            operator = b"".join(bytes(part) for part in _fields(node, _OP_TYPE)).decode()
            if operator in _PASSED_THROUGH:
                taken.update(bytes(name) for name in _fields(node, _NODE_OUTPUT))
            else:
                found.add(operator)
    return found


def _fields(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The length-delimited fields of that number in a message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("a field is longer than its message")
            if number == wanted:
                yield message[at : at + length]
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} is not used by ONNX")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is cut off")
