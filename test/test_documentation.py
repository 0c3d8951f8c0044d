"""README and docs say what the code does: tables, links, commands, messages and names."""

import ast
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from voxelpose_core import cli
from voxelpose_core.generated_motion import walking_pose
from voxelpose_core.geometry.rig import load_rig, save_rig
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import COCO17

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
CARDS = sorted((ROOT / "weights").glob("*.md"))
# What the shell blocks call beside this package's own programs.
OTHER_PROGRAMS = {".", "colcon", "rosdep", "sudo"}


def load_generator():
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "scripts/generate_docs.py")
    module = sys.modules["generate_docs"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generator = load_generator()


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


# Generated tables -------------------------------------------------------------------------------


@pytest.mark.parametrize("page", DOCS, ids=relative)
def test_generated_tables_are_those_of_the_code(page):
    if page.name == "parameters.md":
        pytest.importorskip("rclpy", reason="the node's parameters need ROS")
    text = page.read_text(encoding="utf-8")
    assert text == generator.generated(text), "run scripts/generate_docs.py"


def test_every_table_stands_on_one_page():
    texts = "".join(page.read_text(encoding="utf-8") for page in DOCS)
    marked = re.findall(r"<!-- generated: (.+?) -->", texts)
    assert sorted(marked) == sorted(generator.BLOCKS)


def test_every_message_has_a_table():
    assert sorted(generator.MESSAGES) == sorted(file.stem for file in (ROOT / "msg").glob("*.msg"))


def test_a_changed_description_is_noticed():
    text = (ROOT / "docs/topics.md").read_text(encoding="utf-8")
    other = text.replace("Mid-hip, metres", "Mid-hip, millimetres")
    assert other != text and generator.generated(other) == text


def test_every_launch_file_with_arguments_is_in_the_table():
    files = {file.name for file in (ROOT / "launch").glob("*.launch.py")}
    assert {file for file in files if generator.launch_arguments(file)} == set(generator.LAUNCH_FILES)
    for file in files - {"rig.launch.py"}:
        assert '"rig.launch.py"' in (ROOT / "launch" / file).read_text(encoding="utf-8")


# Links ------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as the usual hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *CARDS], ids=relative)
def test_relative_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), f"{relative(page)}: {target}"
        assert not anchor or anchor in anchors(file), f"{relative(page)}: {target}"


def test_every_page_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"docs/{page.name}" in readme for page in DOCS)


@pytest.mark.parametrize("page", [*PAGES, *CARDS], ids=relative)
def test_named_files_exist(page):
    text = page.read_text(encoding="utf-8")
    folders = "benchmarks|config|examples|launch|scripts|test|training|voxelpose_core|voxelpose_ros|weights"
    for name in re.findall(rf"`((?:{folders})/(?:[a-z0-9_./-]*/)?(?:[a-z0-9_-]+\.[a-z.]+)?)`", text):
        assert (ROOT / name).exists(), f"{relative(page)}: {name}"


# Commands ---------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command in the pages' shell blocks: where it stands, and its words."""
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                for command in line.split(" && "):
                    words = shlex.split(command, comments=True)
                    while words and re.match(r"[A-Z_]+=", words[0]):
                        words.pop(0)
                    if words:
                        yield relative(page), words


def options_of(script: Path) -> set[str]:
    """Options that a script, or what it shares with other trainings, declares."""
    shared = ("command", "training/options", "training/ray_model", "training/voxel_nets")
    sources = [script, *(ROOT / f"voxelpose_core/{name}.py" for name in shared)]
    declared = {"--help"}
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
                declared |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    return declared


def check_script(words: list[str]) -> None:
    if words[1] == "-m":
        words = [words[0], f"{words[2].replace('.', '/')}.py", *words[3:]]
    index = next(i for i, word in enumerate(words) if word.endswith(".py"))
    script = ROOT / words[index]
    assert script.is_file()
    given = {word.partition("=")[0] for word in words[index + 1 :] if word.startswith("--")}
    assert given <= options_of(script)


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(words[1:]) <= set(targets)


def check_pytest(words: list[str]) -> None:
    assert all((ROOT / word).is_file() for word in words[1:] if word.startswith("test/"))


def check_pip(words: list[str]) -> None:
    assert words[1] == "install"
    for extra in re.findall(r"\[(\w+)\]", " ".join(words[2:])):
        assert (ROOT / "requirements" / f"{extra}.txt").is_file()


def check_ros2(words: list[str]) -> None:
    verb, *rest = words[1:]
    if verb == "launch":
        check_launch(*rest)
    elif verb == "run" and rest[0] == "voxelpose_ros":
        executables = re.findall(r"install_python_executable\((\w+) ", (ROOT / "CMakeLists.txt").read_text())
        assert rest[1] in executables
        for before, word in zip(rest, rest[1:]):
            if before == "-p":
                parameter_row(word.partition(":=")[0])
    elif verb == "param" and rest[0] == "set":
        assert rest[1] == "/voxelpose" and "| yes |" in parameter_row(rest[2])
    elif verb == "service" and rest[0] == "call":
        page = (ROOT / "docs/topics.md").read_text(encoding="utf-8")
        name, kind = rest[1].replace("/voxelpose", "~"), rest[2].replace("/srv/", "/")
        assert f"| `{name}` | `{kind}` |" in page
    else:
        assert verb in ("lifecycle", "param", "run", "topic")


def check_launch(package: str, file: str, *arguments: str) -> None:
    assert package == "voxelpose_ros"
    known = {a.name for name in (file, "rig.launch.py") for a in generator.launch_arguments(name)}
    assert {argument.partition(":=")[0] for argument in arguments} <= known


def parameter_row(name: str) -> str:
    """The row of a parameter in docs/parameters.md."""
    text = (ROOT / "docs/parameters.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
    assert rows, f"parameter '{name}'"
    return rows[0]


def check_voxelpose(words: list[str]) -> None:
    cli.make_parser().parse_args(words[1:])


CHECKS = {
    "make": check_make,
    "pip": check_pip,
    "pytest": check_pytest,
    "python": check_script,
    ".venv/bin/python": check_script,
    "ros2": check_ros2,
    "torchrun": check_script,
    "voxelpose": check_voxelpose,
}


def test_commands_are_such_that_the_programs_take_them(capsys):
    count = 0
    for page, words in commands():
        count += 1
        if words[0] in OTHER_PROGRAMS:
            continue
        assert words[0] in CHECKS, f"{page}: {' '.join(words)}"
        try:
            CHECKS[words[0]](words)
        except (SystemExit, AssertionError, StopIteration) as error:
            pytest.fail(f"{page}: {' '.join(words)}: {error} {capsys.readouterr().err}")
    assert count > 30


@pytest.mark.parametrize(
    "command",
    [
        "make dmo",
        "voxelpose estimate --rig a --videos b c --out d --no-such-option",
        "python training/train_universal.py --out a --epochs 3",
        "ros2 launch voxelpose_ros rig.launch.py rigs:=a",
        "ros2 run voxelpose_ros voxelpose_node --ros-args -p rig:=a",
        "ros2 param set /voxelpose rig_file a",
    ],
)
def test_commands_that_programs_do_not_take_are_found(command, capsys):
    words = shlex.split(command)
    with pytest.raises((SystemExit, AssertionError)):
        CHECKS[words[0]](words)


def test_example_files_are_well_formed():
    for page in PAGES:
        for block in blocks(page, "yaml"):
            yaml.safe_load(block)
        for block in blocks(page, "json"):
            json.loads(block)


class Projected:
    """A detector that knows the person in the images, by the order of the cameras."""

    joint_set = COCO17

    def __init__(self, rig):
        self._rig = rig

    def detect(self, images):
        person = walking_pose(1700.0, 0.0, np.array([*self._rig.space.center[:2], 0.0]), 0.0)
        views = []
        for camera in self._rig.cameras:
            pixels, _ = camera.project(person)
            views.append(np.column_stack([pixels, 0.9 * camera.sees(person)])[None].astype(np.float32))
        return views


def test_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (example,) = blocks(ROOT / "README.md", "python")
    rig = load_rig(find_resource("config/rigs/shelf.yaml"))
    save_rig(rig, tmp_path / "rig.yaml")
    for camera in rig.cameras:
        width, height = camera.image_size
        cv2.imwrite(str(tmp_path / f"{camera.name}.png"), np.zeros((height, width, 3), np.uint8))
    monkeypatch.setattr("voxelpose_core.estimator.load_detector", lambda name, device: Projected(rig))
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.count("\n") >= 17  # a row per joint


# Names and messages -----------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_pages_use_the_words_of_the_glossary(page):
    # Neither names of code nor quoted messages.
    text = re.sub(r"`[^`]*`|^> .*$", "", page.read_text(encoding="utf-8"), flags=re.M)
    for other in ("2D people", "moments?", "one a camera", "does without", "nobody", "somebody"):
        assert not re.search(rf"\b{other}\b", text), f"{relative(page)}: '{other}'"


def code_strings() -> str:
    """All strings of the package and its scripts, `…` for what is filled in."""
    texts = []
    for folder in ("voxelpose_core", "voxelpose_ros", "scripts"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                    texts.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(re.sub(r"\{[^{}]*\}|%s", "…", node.value))
    return "\n".join(texts)


def test_messages_are_quoted_as_the_programs_say_them():
    strings = code_strings()
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^> (.+)$", page, re.M)
    assert len(messages) > 30
    for message in messages:
        # Clauses of one line may come from several strings.
        for fragment in re.split(r"…|[,;:] ", message):
            assert fragment.rstrip("?") in strings, f"{message!r}: {fragment!r}"


def test_published_topics_are_documented():
    source = (ROOT / "voxelpose_ros/outputs.py").read_text(encoding="utf-8")
    published = set(re.findall(r'f?"(~/[\w/]+)', source))
    page = (ROOT / "docs/topics.md").read_text(encoding="utf-8").replace("## Services", "## Published")
    page = page.partition("## Published")[2].partition("## Published")[0]
    documented = set(re.findall(r"\| `(~/[\w/]+?)(?:/?CAMERA)?`", page))
    assert {topic.rstrip("/") for topic in published} == {topic.rstrip("/") for topic in documented}


def test_diagnostic_values_are_those_of_the_node():
    page = (ROOT / "docs/topics.md").read_text(encoding="utf-8")
    section = page.partition("\n## Diagnostics\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.M)
    values = {value for row in rows for value in re.findall(r"`([^`]+)`", row)}
    names = ("diagnostics", "worker", "node")
    sources = [ROOT / f"voxelpose_ros/{name}.py" for name in names]
    sources += [
        ROOT / f"voxelpose_core/{name}.py" for name in ("estimator", "findings", "ray_people", "voxel_people")
    ]
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    for value in values:
        words = value.removesuffix(" p50 ms").removesuffix(" p95 ms")
        assert f'"{words}"' in text, value


def test_environment_variables_are_those_of_the_code():
    page = (ROOT / "docs/command_line.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(VOXELPOSE_\w+)`", page))
    read = set()
    for folder in ("voxelpose_core", "voxelpose_ros", "scripts"):
        for file in (ROOT / folder).rglob("*.*"):
            if file.suffix in (".py", ".sh"):
                read |= set(re.findall(r"\bVOXELPOSE_[A-Z]+\b", file.read_text(encoding="utf-8")))
    assert documented <= read
    assert read - documented <= {"VOXELPOSE_SHARED", "VOXELPOSE_FUZZ_MESSAGES"}


def test_figures_of_the_readme_stand_in_the_measurements():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## What it reaches\n")[2].partition("\n## ")[0]
    cells = [cell for row in re.findall(r"^\|.*?\|(.+)\|$", section, re.M) for cell in row.split("|")]
    figures = [figure for cell in cells for figure in re.findall(r"\d+(?:\.\d+)?", cell)]
    measured = (ROOT / "docs/measurements.md").read_text(encoding="utf-8")
    numbers = [float(number) for number in re.findall(r"(?<![\d.])\d+(?:\.\d+)?", measured)]
    assert len(figures) > 10
    for figure in figures:
        half_digit = 0.5 * 10.0 ** -len(figure.partition(".")[2])
        assert any(abs(number - float(figure)) <= half_digit + 1e-9 for number in numbers), figure


def test_citation_has_the_version_of_the_manifest():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    manifest = (ROOT / "package.xml").read_text(encoding="utf-8")
    assert str(citation["version"]) == re.search(r"<version>(.+)</version>", manifest).group(1)


def test_generator_runs_as_a_program():
    command = [sys.executable, str(ROOT / "scripts/generate_docs.py"), "--check"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
