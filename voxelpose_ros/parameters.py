"""Declares ROS parameters with type, range and description, and turns bad values into one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from voxelpose_core.errors import InputError


class Parameters:
    """The parameters of one node, read once at its start.

    Every method declares a parameter and returns its value; InputError names the parameter, its
    value and what was expected. They are read-only: rclpy refuses to change them later.
    """

    def __init__(self, node: Node):
        self._node = node

    def text(
        self, name: str, default: str, description: str, choices: Sequence[str] = ()
    ) -> str:
        """A string; one of `choices` where there are any."""
        if choices:
            description = f"{description} One of: {', '.join(choices)}."
        # YAML reads a camera named 1 or a device named 0 as a number.
        value = str(self._declare(name, default, description))
        if choices and value not in choices:
            self._refuse(name, value, f"one of {', '.join(choices)}")
        return value

    def texts(self, name: str, description: str) -> list[str]:
        """A list of strings, empty where it is not given."""
        value = self._declare(name, [], description)
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, (list, tuple)) or isinstance(value, (bytes, bytearray)):
            self._refuse(name, value, "a list of strings")
        return [str(part) for part in value if str(part)]

    def number(
        self, name: str, default: float, description: str, low: float, high: float
    ) -> float:
        """A number from `low` to `high`; a whole number will do."""
        limits = FloatingPointRange(from_value=low, to_value=high)
        expected = f"a number from {low:g} to {high:g}"
        value = self._declare(name, default, description, expected, floating_point_range=[limits])
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._refuse(name, value, expected)
        if not low <= value <= high:
            self._refuse(name, value, expected)
        return float(value)

    def integer(self, name: str, default: int, description: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        limits = IntegerRange(from_value=low, to_value=high, step=1)
        expected = f"a whole number from {low} to {high}"
        value = self._declare(name, default, description, expected, integer_range=[limits])
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self._refuse(name, value, expected)
        return value

    def flag(self, name: str, default: bool, description: str) -> bool:
        """True or false."""
        value = self._declare(name, default, description)
        if not isinstance(value, bool):
            self._refuse(name, value, "true or false")
        return value

    def _declare(
        self, name: str, default: Any, description: str, expected: str = "", **limits: Any
    ) -> Any:
        # Typed declarations refuse `rate:=30` for a number and any list for an empty default, with
        # a traceback; the methods above check, and say it in one line.
        descriptor = ParameterDescriptor(
            description=description, read_only=True, dynamic_typing=True, **limits
        )
        try:
            return self._node.declare_parameter(name, default, descriptor).value
        except ParameterException:
            raise InputError(f"parameter '{name}' is refused, expected {expected}") from None

    @staticmethod
    def _refuse(name: str, value: Any, expected: str) -> None:
        raise InputError(f"parameter '{name}' is {value!r}, expected {expected}")
