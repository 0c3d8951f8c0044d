#!/usr/bin/env python3
"""Writes the tables of docs/ that follow from the code: parameters, messages, command-line options.

    python scripts/generate_docs.py            rewrites the marked blocks of docs/*.md
    python scripts/generate_docs.py --check    exit code 1 if a page differs from the code

A block lies between `<!-- generated: NAME -->` and `<!-- end: NAME -->`. The node's parameters are what
NodeSettings.read declares, which needs rclpy: where that is not installed, their page is left as it is.
test/test_documentation.py fails when a page differs.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Parameters that a user sets; all others are an expert's.
USER_PARAMETERS = (
    "rig_file",
    "calibration",
    "cameras",
    "input",
    "image_topic",
    "keypoints_topic",
    "topics",
    "qos.reliability",
    "weights",
    "device",
    "detector",
    "refine_detections",
    "space",
    "ground",
    "sync.slop_ms",
    "sync.max_wait_ms",
    "publish_tf",
)
# The default of a launch argument that only launch knows.
COMPUTED = object()
MESSAGES = ("SkeletonArray", "Skeleton", "Keypoints2DArray", "Keypoints2D")
# Launch files with arguments of their own; campus and shelf have those of rig.launch.py, which all include.
LAUNCH_FILES = ("rig.launch.py", "demo.launch.py", "panoptic.launch.py")


# Node parameters --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Declared:
    """One parameter: `limits` are its range, its choices or what its list holds, in words."""

    name: str
    default: Any
    description: str
    limits: str = ""
    live: bool = False


class Recorder:
    """Takes the declarations that voxelpose_ros.parameters.Parameters takes, and keeps them."""

    def __init__(self):
        self.declared: list[Declared] = []

    def _keep(self, name, default, description, limits="", live=False):
        self.declared.append(Declared(name, default, description, limits, live))
        return default

    def text(self, name, default, description, choices=(), live=False):
        return self._keep(name, default, description, ", ".join(choices or ()), live)

    def texts(self, name, description):
        return self._keep(name, [], description, "list of strings")

    def numbers(self, name, description, low, high, live=False):
        return self._keep(name, [], description, f"list, {low:g} to {high:g}", live)

    def number(self, name, default, description, low, high, live=False):
        return self._keep(name, default, description, f"{low:g} to {high:g}", live)

    def integer(self, name, default, description, low, high, live=False):
        limits = f"{low} to {high}" if high < 2**31 - 1 else f"from {low}"
        return self._keep(name, default, description, limits, live)

    def flag(self, name, default, description, live=False):
        return self._keep(name, default, description, "true, false", live)


def node_parameters() -> list[Declared]:
    """What voxelpose_node declares. Raises ImportError without rclpy."""
    from voxelpose_ros.settings import NodeSettings

    recorder = Recorder()
    NodeSettings.read(recorder)
    return recorder.declared


def viewer_parameters() -> list[Declared]:
    """What rerun_view declares beside voxelpose_node's parameters. Raises ImportError without rclpy."""
    from voxelpose_ros.rerun_settings import RerunSettings

    recorder = Recorder()
    RerunSettings.read(recorder)
    of_node = {parameter.name for parameter in node_parameters()}
    return [parameter for parameter in recorder.declared if parameter.name not in of_node]


def parameters_in_source(module: str) -> list[Declared]:
    """What a node declares by calls `p.KIND(...)` in voxelpose_ros/MODULE.py, which is not imported."""
    tree = parse(f"voxelpose_ros/{module}.py")
    topics = SimpleNamespace(**assignments(parse("voxelpose_ros/topics.py")))
    names = assignments(tree) | {"topics": topics}
    recorder = Recorder()
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        function = call.func
        if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
            continue
        if function.value.id == "p" and hasattr(Recorder, function.attr):
            given = [evaluate(argument, names) for argument in call.args]
            named = {keyword.arg: evaluate(keyword.value, names) for keyword in call.keywords}
            getattr(recorder, function.attr)(*given, **named)
    return recorder.declared


def parameter_table(parameters: Sequence[Declared], live: bool = True) -> list[str]:
    """Rows of parameters; with `live` a column says which can change while the node runs."""
    head = ["parameter", "default", "values", "live", "meaning"]
    rows = [
        [code(p.name), as_given(p.default), p.limits, "yes" if p.live else "", p.description.rstrip(".")]
        for p in parameters
    ]
    if not live:
        head, rows = head[:3] + head[4:], [row[:3] + row[4:] for row in rows]
    return table(head, rows)


def user_table() -> list[str]:
    by_name = {parameter.name: parameter for parameter in node_parameters()}
    return parameter_table([by_name[name] for name in USER_PARAMETERS])


def expert_table() -> list[str]:
    return parameter_table([p for p in node_parameters() if p.name not in USER_PARAMETERS])


# Messages ---------------------------------------------------------------------------------------


def message_table(name: str) -> list[str]:
    """Rows of a message's fields; the comment lines above a field are its meaning."""
    rows, comment = [], []
    for line in (ROOT / "msg" / f"{name}.msg").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
        elif line.strip():
            kind, field = line.split()
            rows.append([code(field), code(kind), " ".join(comment).rstrip(".")])
            comment = []
        else:
            comment = []  # that of the message
    return table(["field", "type", "meaning"], rows)


# Commands and launch files ----------------------------------------------------------------------


def command_tables() -> list[str]:
    """The options of every `voxelpose` command."""
    from voxelpose_core.cli import make_parser

    lines: list[str] = []
    for parser in subcommands(make_parser()):
        lines += [f"### {parser.prog}", "", sentence(parser.description or summary_of(parser)), ""]
        lines += [*option_table(parser), ""]
    return lines[:-1]


def subcommands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of the commands below, depth first; each knows its summary."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help for choice in action._choices_actions}
            for name, below in action.choices.items():
                below.summary = helps.get(name) or ""
                if any(isinstance(a, argparse._SubParsersAction) for a in below._actions):
                    yield from subcommands(below)
                else:
                    yield below


def summary_of(parser: argparse.ArgumentParser) -> str:
    return getattr(parser, "summary", "")


def option_table(parser: argparse.ArgumentParser) -> list[str]:
    shown = [a for a in parser._actions if not {"--help", "--debug"} & set(a.option_strings)]
    return table(["argument", "meaning"], [[code(written(a)), meaning(a, parser)] for a in shown])


def written(action: argparse.Action) -> str:
    """How an argument is given, such as `--videos VIDEO ...`."""
    if not action.option_strings:
        return str(action.metavar or action.dest)
    if isinstance(action, argparse.BooleanOptionalAction):
        return ", ".join(action.option_strings)
    if action.nargs == 0:
        return action.option_strings[-1]
    value = "|".join(action.choices) if action.choices else action.metavar or action.dest.upper()
    return f"{action.option_strings[-1]} {value}{' ...' if action.nargs == '+' else ''}"


def meaning(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    text = (action.help or "") % {"default": action.default, "prog": parser.prog}
    return f"{text}; required" if action.required and action.option_strings else text


def launch_arguments(file: str) -> list[Declared]:
    """What launch/FILE declares with DeclareLaunchArgument; a default of None: required."""
    tree = parse(f"launch/{file}")
    names, found = assignments(tree), []
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        if isinstance(call.func, ast.Name) and call.func.id == "DeclareLaunchArgument":
            given = {keyword.arg: evaluate(keyword.value, names) for keyword in call.keywords}
            if "default_value" in given and given["default_value"] is None:
                given["default_value"] = COMPUTED
            choices = ", ".join(given.get("choices") or ())
            name, default = evaluate(call.args[0], names), given.get("default_value")
            found.append(Declared(name, default, given["description"], choices))
    return found


def launch_table() -> list[str]:
    """The arguments of the launch files."""
    rows = []
    for file in LAUNCH_FILES:
        for argument in launch_arguments(file):
            default = "required" if argument.default is None else as_given(argument.default)
            default = "see meaning" if argument.default is COMPUTED else default
            rows.append(
                [code(file), code(argument.name), default, argument.limits, argument.description.rstrip(".")]
            )
    return table(["launch file", "argument", "default", "values", "meaning"], rows)


# Python sources that need not be importable here -------------------------------------------------


def parse(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def assignments(tree: ast.Module) -> dict[str, Any]:
    """Values of a module's top-level assignments; None for what only running the module would tell."""
    values: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    values[target.id] = evaluate(node.value, values)
    return values


class _Known(dict):
    """Names for `eval`: those given, Python's own, and None for all others."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, None)


def evaluate(expression: ast.expr, names: Mapping[str, Any]) -> Any:
    """Value of an expression of our own sources; None where it needs more than `names`."""
    code_object = compile(ast.Expression(expression), "<declaration>", "eval")
    try:
        return eval(code_object, {"__builtins__": {}}, _Known(names))
    except Exception:
        return None


# Pages ------------------------------------------------------------------------------------------

BLOCKS: dict[str, Callable[[], list[str]]] = {
    "user parameters": user_table,
    "expert parameters": expert_table,
    "detector_node": lambda: parameter_table(parameters_in_source("detector_node"), live=False),
    "camera_player": lambda: parameter_table(parameters_in_source("camera_player"), live=False),
    "rig_simulator": lambda: parameter_table(parameters_in_source("rig_simulator"), live=False),
    "rerun_view": lambda: parameter_table(viewer_parameters(), live=False),
    **{name: lambda name=name: message_table(name) for name in MESSAGES},
    "commands": command_tables,
    "launch arguments": launch_table,
}
_BLOCK = re.compile(r"(<!-- generated: (?P<name>.+?) -->\n)(?P<body>.*?)(<!-- end: (?P=name) -->)", re.S)


def generated(text: str) -> str:
    """The page with its blocks as the code has them. Raises ImportError if a block needs rclpy."""

    def block(match: re.Match) -> str:
        body = "\n".join(BLOCKS[match["name"]]())
        return f"{match[1]}\n{body}\n\n{match[4]}"

    return _BLOCK.sub(block, text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(cell, line)) + " |" for line in lines]


def cell(text: str) -> str:
    """Text of a table's cell; outside of code nothing is markup."""
    if not text.startswith("`"):
        text = text.replace("<", "&lt;").replace("*", "\\*")
    return text.replace("|", "\\|")


def code(text: str) -> str:
    return f"`{text}`"


def as_given(value: Any) -> str:
    """A default as one would type it."""
    if value in ("", []):
        return "empty"
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(f"{value:g}" if isinstance(value, float) else str(value))


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page differs")
    check = parser.parse_args().check
    sys.path.insert(0, str(ROOT))
    differing = 0
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        try:
            new = generated(text)
        except ImportError as error:
            print(f"{page.relative_to(ROOT)}: left as it is ({error})", file=sys.stderr)
            continue
        if new != text:
            differing += 1
            print(f"{page.relative_to(ROOT)}: {'differs from the code' if check else 'rewritten'}")
            if not check:
                page.write_text(new, encoding="utf-8")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
