"""What a launch file starts, without starting it: with launch_ros, or with a stand-in without it.

The stand-in has the few parts of launch that this package's launch files use, and does what launch does with
them. `started` says what a launch file starts; the same tests run with either.
"""

import importlib.util
import os
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import yaml

REAL = importlib.util.find_spec("launch_ros") is not None


@dataclass
class Started:
    """A node that a launch file starts: `parameters` are those of its files, too, as the node takes them."""

    package: str
    executable: str
    name: str
    parameters: dict
    arguments: list
    environment: dict


def flattened(tree, prefix=""):
    """The values of nested groups by their names with dots."""
    found = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= flattened(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def parameters_of(file, node_name):
    """What a parameter file has for a node in the root namespace."""
    found = {}
    for pattern, content in yaml.safe_load(Path(file).read_text()).items():
        if pattern in ("/**", f"/**/{node_name}", f"/{node_name}"):
            found |= flattened(content["ros__parameters"])
    return found


def load(file):
    """The LaunchDescription of a launch file."""
    spec = importlib.util.spec_from_file_location(Path(file).name.replace(".", "_"), file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def started(file, **arguments):
    """The nodes that a launch file starts with these arguments (`__` for a dot), by name."""
    given = {name.replace("__", "."): value for name, value in arguments.items()}
    if REAL:
        return _started_by_launch(file, given)
    context = Context([f"{name}:={value}" for name, value in given.items()], dict(given))
    return {node.name: node for node in load(file).visit(context)}


def _started_by_launch(file, given):
    from launch_ros.actions import Node

    from launch import LaunchContext

    context = LaunchContext(argv=[f"{name}:={value}" for name, value in given.items()])
    context.launch_configurations.update(given)
    nodes = {}

    def visit(entity):
        if isinstance(entity, Node):
            if entity.condition is None or entity.condition.evaluate(context):
                node = _described(entity, context)
                nodes[node.name] = node
            return
        for below in entity.visit(context) or ():
            visit(below)

    visit(load(file))
    return nodes


def _described(node, context):
    from launch.substitutions import LocalSubstitution
    from launch.utilities import perform_substitutions

    node._perform_substitutions(context)
    # Without the executable's path (RViz may not be installed), and the name, which launch fills in later.
    words = [
        perform_substitutions(context, word)
        for word in node.cmd[1:]
        if not any(isinstance(part, LocalSubstitution) for part in word)
    ]
    name = node._Node__expanded_node_name
    ros = words.index("--ros-args")
    parameters = {}
    for option, value in zip(words[ros + 1 :], words[ros + 2 :]):
        if option == "--params-file":
            parameters |= parameters_of(value, name)
    environment = {
        perform_substitutions(context, key): perform_substitutions(context, value)
        for key, value in node.additional_env or ()
    }
    executable = node._Node__node_executable
    executable = executable if isinstance(executable, str) else perform_substitutions(context, executable)
    package = node._Node__package
    package = package if isinstance(package, str) else perform_substitutions(context, package)
    return Started(package, executable, name, parameters, words[:ros], environment)


# The stand-in -----------------------------------------------------------------------------------


class Context:
    def __init__(self, argv, configurations):
        self.argv, self.launch_configurations = argv, configurations


def performed(value, context):
    """The text of a substitution, a list of them, or a text."""
    if isinstance(value, list):
        return "".join(performed(part, context) for part in value)
    return value if isinstance(value, str) else value.perform(context)


class LaunchConfiguration:
    def __init__(self, name):
        self.name = name

    def perform(self, context):
        return context.launch_configurations[self.name]


class PathJoinSubstitution:
    def __init__(self, parts):
        self.parts = parts

    def perform(self, context):
        return os.path.join(*(performed(part, context) for part in self.parts))


class PythonExpression:
    def __init__(self, parts):
        self.parts = parts

    def perform(self, context):
        return str(eval(performed(self.parts, context)))


class IfCondition:
    def __init__(self, predicate):
        self.predicate = predicate

    def evaluate(self, context):
        return performed(self.predicate, context).lower() in ("true", "1")


class ParameterValue:
    def __init__(self, value, value_type):
        self.value, self.value_type = value, value_type

    def evaluate(self, context):
        text = performed(self.value, context)
        return text if self.value_type is str else self.value_type(yaml.safe_load(text))


class Action:
    condition = None

    def visit(self, context):
        if self.condition is not None and not self.condition.evaluate(context):
            return []
        return self.execute(context) or []


class LaunchDescription(Action):
    def __init__(self, entities):
        self.entities = entities

    def execute(self, context):
        return [node for entity in self.entities for node in entity.visit(context)]


class DeclareLaunchArgument(Action):
    def __init__(self, name, *, default_value=None, description=None, choices=None):
        self.name, self.default_value, self.description = name, default_value, description
        self.choices = choices

    def execute(self, context):
        if self.name not in context.launch_configurations:
            if self.default_value is None:
                raise RuntimeError(f'Required launch argument "{self.name}" was not provided')
            context.launch_configurations[self.name] = performed(self.default_value, context)
        value = context.launch_configurations[self.name]
        if self.choices and value not in self.choices:
            raise RuntimeError(f'Argument "{self.name}" provided value "{value}" is not valid')


class SetLaunchConfiguration(Action):
    def __init__(self, name, value):
        self.name, self.value = name, value

    def execute(self, context):
        context.launch_configurations[self.name] = performed(self.value, context)


class OpaqueFunction(Action):
    def __init__(self, *, function, condition=None):
        self.function, self.condition = function, condition

    def execute(self, context):
        return LaunchDescription(self.function(context) or []).execute(context)


class LogInfo(Action):
    def __init__(self, *, msg):
        self.msg = msg

    def execute(self, context):
        print(performed(self.msg, context))


class PythonLaunchDescriptionSource:
    def __init__(self, path):
        self.path = path


class IncludeLaunchDescription(Action):
    def __init__(self, source, launch_arguments=()):
        self.source, self.launch_arguments = source, launch_arguments

    def execute(self, context):
        for name, value in self.launch_arguments:
            context.launch_configurations[name] = performed(value, context)
        return load(self.source.path).visit(context)


class Node(Action):
    def __init__(self, *, package, executable, name, parameters=(), arguments=(), condition=None, **options):
        self.package, self.executable, self.name = package, executable, name
        self.parameters, self.arguments, self.condition = parameters, arguments, condition
        self.environment = options.pop("additional_env", {})
        assert set(options) <= {"output", "sigterm_timeout"}

    def execute(self, context):
        found = {}
        for given in self.parameters:
            if isinstance(given, dict):
                found |= {name: value.evaluate(context) for name, value in given.items()}
            else:
                found |= parameters_of(performed(given, context), self.name)
        return [
            Started(self.package, self.executable, self.name, found, list(self.arguments), self.environment)
        ]


def install(monkeypatch):
    """Put the stand-in where `import launch` finds it, unless launch_ros is installed."""
    if REAL:
        return
    modules = {
        "launch": [LaunchDescription],
        "launch.actions": [
            DeclareLaunchArgument,
            IncludeLaunchDescription,
            LogInfo,
            OpaqueFunction,
            SetLaunchConfiguration,
        ],
        "launch.conditions": [IfCondition],
        "launch.launch_description_sources": [PythonLaunchDescriptionSource],
        "launch.substitutions": [LaunchConfiguration, PathJoinSubstitution, PythonExpression],
        "launch_ros": [],
        "launch_ros.actions": [Node],
        "launch_ros.parameter_descriptions": [ParameterValue],
    }
    for name, members in modules.items():
        module = types.ModuleType(name)
        for member in members:
            setattr(module, member.__name__, member)
        monkeypatch.setitem(sys.modules, name, module)
