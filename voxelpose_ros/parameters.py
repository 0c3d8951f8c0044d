"""Declares ROS parameters with type, range and description, and turns bad values into one line."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from voxelpose_core.errors import InputError

Type = Parameter.Type
# rclpy declares these when a publisher or subscription is made.
_QOS_OVERRIDES = "qos_overrides."
# How alike (difflib's ratio) an unknown name and a parameter must be to be the same with a typing error.
_ALIKE = 0.75


class Parameters:
    """The parameters of one node.

    Every method returns the value of a parameter, which it declares when it is first asked for;
    InputError names the parameter, its value and what was expected. `finish` follows the last one.

    Args:
        node: whose parameters they are; made with allow_undeclared_parameters, so that a name that
            it does not have gets an answer of ours.
        fixed: rclpy refuses to change them after the start.
        renamed: old name -> name of the parameter now.
    """

    def __init__(self, node: Node, fixed: bool = True, renamed: Mapping[str, str] | None = None):
        self._node = node
        self._fixed = fixed
        self._renamed = renamed or {}
        self._changes: Mapping[str, Any] = {}
        self._live: dict[str, bool] = {}

    def changed(self, changes: Mapping[str, Any]) -> Parameters:
        """The same parameters as if these values, by name, were set."""
        other = Parameters(self._node, self._fixed, self._renamed)
        other._changes, other._live = changes, self._live
        return other

    def needs_reconfigure(self, name: str) -> bool:
        """Whether this is one of the parameters that do not change while the node runs."""
        return not self._live.get(name, True)

    def finish(self) -> None:
        """Refuse names that are no parameters: those given at the start, and from now on.

        A name that resembles none may be another node's, from a parameter file for all nodes (/**): it
        is logged and ignored.

        Raises:
            InputError: for an old name, which names the new one, or one that resembles a parameter.
        """
        # rclpy has no public way to the values of names that are not declared.
        for name in self._node._parameter_overrides:
            if self._is_known(name):
                continue
            if self._meant(name):
                raise InputError(self._unknown(name))
            self._node.get_logger().warning(f"{self._unknown(name)}; it is ignored")
        self._node.add_on_set_parameters_callback(self._refuse_unknown)

    def _refuse_unknown(self, given: Sequence[Parameter]) -> SetParametersResult:
        for parameter in given:
            if not self._is_known(parameter.name):
                return SetParametersResult(successful=False, reason=self._unknown(parameter.name))
        return SetParametersResult(successful=True)

    def _is_known(self, name: str) -> bool:
        return self._node.has_parameter(name) or name.startswith(_QOS_OVERRIDES)

    def _unknown(self, name: str) -> str:
        """What to say of a name that is no parameter."""
        if name in self._renamed:
            return f"parameter '{name}' is now '{self._renamed[name]}'"
        meant = self._meant(name)
        if meant:
            return f"parameter '{name}' is unknown, did you mean '{meant}'?"
        node = self._node.get_fully_qualified_name()
        return f"parameter '{name}' is unknown, expected one of those that `ros2 param list {node}` shows"

    def _meant(self, name: str) -> str:
        """The parameter that an unknown name stands for; empty where it resembles none."""
        if name in self._renamed:
            return self._renamed[name]
        # By full names, and by their last parts: `slop_mm` resembles `sync.slop_ms`.
        spelled = {known.rpartition(".")[2]: known for known in self._live}
        spelled |= {known: known for known in self._live}
        found = difflib.get_close_matches(name, spelled, n=1, cutoff=_ALIKE)
        found = found or difflib.get_close_matches(name.rpartition(".")[2], spelled, n=1, cutoff=_ALIKE)
        return spelled[found[0]] if found else ""

    def text(
        self,
        name: str,
        default: str,
        description: str,
        choices: Sequence[str] = (),
        live: bool = False,
    ) -> str:
        """A string; one of `choices` where there are any."""
        expected = f"one of {', '.join(choices)}" if choices else ""

        def convert(value: Any) -> str:
            # YAML reads a camera named 1 or a device named 0 as a number, and true as a truth value.
            said = str(value).lower() if isinstance(value, bool) else str(value)
            if choices and said not in choices:
                _refuse(name, value, expected)
            return said

        value = self._value(name, default, Type.STRING, convert, description, expected, live)
        if "true" in choices and not self._fixed:
            self._take_truth_values(name)
        return value

    def texts(self, name: str, description: str) -> list[str]:
        """A list of strings, empty where it is not given; one string is split at its commas."""

        def convert(value: Any) -> list[str]:
            if isinstance(value, str):
                value = [part.strip() for part in value.split(",")]
            if not isinstance(value, (list, tuple)):
                _refuse(name, value, "a list of strings")
            return [str(part) for part in value if str(part)]

        return self._value(name, [], Type.STRING_ARRAY, convert, description)

    def numbers(
        self, name: str, description: str, low: float, high: float, live: bool = False
    ) -> list[float]:
        """A list of numbers from `low` to `high`, empty where it is not given."""
        expected = f"a list of numbers from {low:g} to {high:g}"

        def convert(value: Any) -> list[float]:
            value = list(value) if isinstance(value, Sequence) else [value]
            if not all(_is_number(part) and low <= part <= high for part in value):
                _refuse(name, value, expected)
            return [float(part) for part in value]

        return self._value(name, [], Type.DOUBLE_ARRAY, convert, description, expected, live)

    def number(
        self,
        name: str,
        default: float,
        description: str,
        low: float,
        high: float,
        live: bool = False,
    ) -> float:
        """A number from `low` to `high`; a whole number will do."""
        expected = f"a number from {low:g} to {high:g}"

        def convert(value: Any) -> float:
            if not _is_number(value) or not low <= value <= high:
                _refuse(name, value, expected)
            return float(value)

        limits = [FloatingPointRange(from_value=low, to_value=high)]
        return self._value(
            name, default, Type.DOUBLE, convert, description, live=live, floating_point_range=limits
        )

    def integer(
        self, name: str, default: int, description: str, low: int, high: int, live: bool = False
    ) -> int:
        """A whole number from `low` to `high`."""
        expected = f"a whole number from {low} to {high}"

        def convert(value: Any) -> int:
            if not _is_number(value) or not isinstance(value, int) or not low <= value <= high:
                _refuse(name, value, expected)
            return value

        limits = [IntegerRange(from_value=low, to_value=high, step=1)]
        return self._value(name, default, Type.INTEGER, convert, description, live=live, integer_range=limits)

    def flag(self, name: str, default: bool, description: str, live: bool = False) -> bool:
        """True or false."""

        def convert(value: Any) -> bool:
            if not isinstance(value, bool):
                _refuse(name, value, "true or false")
            return value

        return self._value(name, default, Type.BOOL, convert, description, live=live)

    def _value(
        self,
        name: str,
        default: Any,
        kind: Parameter.Type,
        convert: Callable[[Any], Any],
        description: str,
        expected: str = "",
        live: bool = False,
        **limits: Any,
    ) -> Any:
        if name in self._changes:
            return convert(self._changes[name])
        if self._node.has_parameter(name):
            return convert(self._node.get_parameter(name).value)
        value = convert(self._given(name, default))
        if not self._fixed:
            description += " Can change while the node runs." if live else " Needs a reconfigure."
        descriptor = ParameterDescriptor(
            name=name,
            type=kind.value,
            description=description,
            additional_constraints=expected,
            **limits,
        )
        self._node.declare_parameter(name, kind, descriptor, ignore_override=True)
        # Set, not declared with: rclpy takes an empty list for one of bytes.
        self._node.set_parameters([Parameter(name, kind, value)])
        if self._fixed:
            final = copy.deepcopy(descriptor)
            final.read_only = True
            self._node.set_descriptor(name, final)
        self._live[name] = live
        return value

    def _take_truth_values(self, name: str) -> None:
        """Let a parameter of text be set to true and false, which `ros2 param set` sends as they are."""
        descriptor = copy.deepcopy(self._node.describe_parameter(name))
        if not descriptor.dynamic_typing:
            descriptor.dynamic_typing = True
            self._node.set_descriptor(name, descriptor)

    def _given(self, name: str, default: Any) -> Any:
        """What the command line or a parameter file says, of whatever type.

        A typed declaration would refuse `rate:=30` for a number, and a list for an empty default.
        """
        anything = ParameterDescriptor(dynamic_typing=True)
        value = self._node.declare_parameter(name, default, anything).value
        self._node.undeclare_parameter(name)
        return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _refuse(name: str, value: Any, expected: str) -> NoReturn:
    raise InputError(f"parameter '{name}' is {value!r}, expected {expected}")
