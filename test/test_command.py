"""How commands end: exit codes, one line for every error, and arguments with negative values."""

import argparse
import errno
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from voxelpose_core import cli, command
from voxelpose_core.command import Parser, describe_error, positive_number, run_command, whole_number
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.resources import find_resource, version

REPOSITORY = Path(__file__).resolve().parents[1]
RIG = str(find_resource("config/rigs/campus.yaml"))
SPACE = "-875,0,1000,9750,8000.5,2000"


def opencv_error() -> cv2.error:
    with pytest.raises(cv2.error) as caught:
        cv2.resize(np.zeros((0, 0), np.uint8), (1, 1))
    return caught.value


def worker_error(kind: type[Exception], message: str) -> Exception:
    """As a data loader's worker of PyTorch sends it."""
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return kind(
        "Caught it in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        f'  File "worker.py", line 1, in work\n{name}: {message}\n'
    )


ENDS = {
    "input": (InputError("rig.yaml: key 'R' is missing"), 2, "rig.yaml: key 'R' is missing"),
    "worker input": (worker_error(InputError, "a.jpg: is damaged"), 2, "a.jpg: is damaged"),
    "bug": (ZeroDivisionError("division by zero"), 70, "unexpected ZeroDivisionError: division by"),
    "worker bug": (worker_error(KeyError, "'joints'"), 70, "unexpected KeyError: "),
    "many lines": (ValueError("one\n  two"), 70, "unexpected ValueError: one two (run again with --d"),
    "silent": (AssertionError(), 70, "unexpected AssertionError: no message (run again"),
    "opencv": (opencv_error(), 70, "unexpected cv2.error: !ssize.empty() in resize (run again"),
    "memory": (MemoryError(), 70, "not enough memory: an allocation failed (run again"),
    "torch memory": (
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
        70,
        "not enough memory: DefaultCPUAllocator: can't",
    ),
    "missing": (
        ModuleNotFoundError("No module named 'yaml.nodes'", name="yaml.nodes"),
        70,
        "Python package 'yaml' is missing: pip install pyyaml",
    ),
    "library": (ImportError("libGL.so.1: cannot open"), 70, "libGL.so.1: cannot open (run again"),
    "disk": (OSError(errno.ENOSPC, "No space left on device"), 70, "No space left on device"),
    "file": (
        PermissionError(errno.EACCES, "Permission denied", "out.json"),
        70,
        "out.json: Permission denied",
    ),
    "pipe": (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, None),
}


def fail_with(error):
    def fail(*_):
        raise error

    return fail


@pytest.mark.parametrize("case", ENDS)
def test_a_command_ends_with_one_line_and_its_code(case, capsys):
    error, code, words = ENDS[case]
    assert run_command(fail_with(error)) == code
    out, err = capsys.readouterr()
    assert out == ""
    if words is None:
        assert err == ""
    else:
        assert err.startswith(f"error: {words}") and err.count("\n") == 1, err


def test_the_command_s_own_code_is_kept():
    assert [run_command(lambda code=code: code) for code in (0, 1, None)] == [0, 1, 0]


@pytest.mark.parametrize("arguments", [["--debug", "rig", "check", RIG], ["rig", "check", RIG, "--debug"]])
def test_debug_shows_the_traceback(arguments, monkeypatch, capsys):
    fails = fail_with(ZeroDivisionError("division by zero"))
    monkeypatch.setattr("voxelpose_core.command_line.options.load_rig", fails)
    assert cli.main(arguments) == 70
    err = capsys.readouterr().err
    assert err.startswith("Traceback") and err.endswith("ZeroDivisionError: division by zero\n")
    # It belongs to that run alone.
    assert cli.main([a for a in arguments if a != "--debug"]) == 70
    assert capsys.readouterr().err.startswith("error: unexpected ZeroDivisionError: division by zero")


def test_debug_by_environment(monkeypatch, capsys):
    for value, shown in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv(command.DEBUG_VARIABLE, value)
        run_command(fail_with(ZeroDivisionError("division by zero")))
        assert ("Traceback" in capsys.readouterr().err) == shown


def test_bad_input_is_one_line_in_debug_mode_too(capsys):
    assert cli.main(["--debug", "rig", "check", "missing.yaml"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# --- as a process -----------------------------------------------------------------------------


def voxelpose(*arguments, module="voxelpose_core", **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment |= options.pop("environment", {})
    options = {"capture_output": True, "text": True, "timeout": 300, **options}
    command_line = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command_line, env=environment, **options)


@pytest.mark.parametrize("module", ["voxelpose_core", "voxelpose_core.cli"])
def test_modules_run_as_the_command(module):
    run = voxelpose("--version", module=module)
    assert (run.returncode, run.stderr, run.stdout) == (0, "", f"voxelpose {version()}\n")
    run = voxelpose("rig", "check", "missing.yaml", module=module)
    assert run.returncode == 2 and run.stderr.startswith("error: ") and run.stderr.count("\n") == 1


def test_a_missing_package_is_named_before_anything_else(tmp_path):
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'scipy'\", name='scipy')\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    run = voxelpose("rig", "space", RIG, environment={"PYTHONPATH": path})
    assert run.returncode == 70
    assert run.stderr == "error: Python package 'scipy' is missing: pip install scipy\n"


@pytest.mark.parametrize("arguments", [["rig", "check", RIG], ["--help"], ["rig", "check", "--help"]])
def test_a_reader_that_goes_away_is_no_error(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        run = voxelpose(*arguments, capture_output=False, stdout=closed, stderr=subprocess.PIPE)
    assert run.stderr == ""
    assert run.returncode in (0, 141)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line(tmp_path):
    with open("/dev/full", "w") as full:
        run = voxelpose("rig", "check", RIG, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (run.returncode, run.stderr) == (70, "error: No space left on device\n")
    run = voxelpose("rig", "convert", RIG, "/dev/full")
    assert run.returncode == 2
    assert run.stderr == "error: /dev/full: cannot be written (No space left on device)\n"


SCRIPTS = sorted(
    f"{folder}/{file.name}"
    for folder in ("training", "benchmarks")
    for file in (REPOSITORY / folder).glob("*.py")
    if "__main__" in file.read_text()
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_end_as_the_command_does(script):
    text = (REPOSITORY / script).read_text()
    assert text.endswith('if __name__ == "__main__":\n    sys.exit(run_command(main))\n')
    assert " Parser(" in text and "ArgumentParser(" not in text


def test_a_training_script_has_debug_and_one_line_errors(tmp_path):
    script = REPOSITORY / "training" / "train_for_rig.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for arguments, words in (
        (["missing.yaml", "--out", str(tmp_path / "out.safetensors")], "missing.yaml"),
        (
            [RIG, "--out", str(tmp_path / "o"), "--steps", "many"],
            "--steps: 'many', expected a whole number of at least 1",
        ),
        ([RIG, "--out", str(tmp_path / "o.safetensors"), "--space", "-875,0"], "-875,0"),
        ([RIG, "--out", str(tmp_path / "o"), "--steps", "0"], "--steps: '0', expected a whole number"),
        ([RIG, "--out", str(tmp_path / "none" / "o.safetensors")], "none' does not exist"),
        ([RIG, "--uot", str(tmp_path / "o")], "option --uot is unknown, did you mean --out? (see"),
    ):
        run = subprocess.run(
            [sys.executable, script, "--debug", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=300,
        )
        assert run.returncode == 2, run.stderr
        assert run.stderr.startswith("error: ") and words in run.stderr
        assert run.stderr.count("\n") == 1


# --- misspelt options -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("estimate", "--rig", "r", "--vidoes", "v.mp4", "--out", "o"),
            "option --vidoes is unknown, did you mean --videos? (see voxelpose estimate --help)",
        ),
        (
            ("estimate", "--rig", "r", "--videos", "v.mp4", "--out", "o", "--piture=p.png"),
            "option --piture is unknown, did you mean --picture? (see voxelpose estimate --help)",
        ),
        (("rig", "check", "r.yaml", "--xyz"), "option --xyz is unknown (see voxelpose rig check --help)"),
        (
            ("rig", "check", "r.yaml", "another"),
            "unrecognized arguments: another (see voxelpose rig check --help)",
        ),
        (("estimate", "--fp", "30"), "required: --out (see voxelpose estimate --help)"),
        (("--versoin",), "option --versoin is unknown, did you mean --version? (see voxelpose --help)"),
    ],
)
def test_a_misspelt_option_is_named_with_the_one_it_resembles(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.run(arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and words in printed


def test_parsers_that_look_for_a_few_options_leave_the_others():
    first = Parser(add_help=False)
    first.add_argument("--init")
    found, rest = first.parse_known_args(["rig.yaml", "--init", "a", "--steps", "3"])
    assert found.init == "a" and rest == ["rig.yaml", "--steps", "3"]


@pytest.mark.parametrize("text", ["0", "-3", "2.5", "many", "", "1e3"])
def test_whole_numbers(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number of at least 1"):
        whole_number(1)(text)
    assert whole_number(0)("0") == 0 and whole_number(1)("12") == 12


@pytest.mark.parametrize("text", ["0", "-1", "nan", "some"])
def test_positive_numbers(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number above 0"):
        positive_number(text)
    assert positive_number("1e-3") == 1e-3 and positive_number("inf") == float("inf")


# --- negative values --------------------------------------------------------------------------


@pytest.fixture
def parser():
    parser = Parser(prog="x")
    parser.add_argument("--space")
    parser.add_argument("--ground", type=float)
    parser.add_argument("--offsets-ms", type=float, nargs="+")
    parser.add_argument("--flag", action="store_true")
    parser.add_argument("rest", nargs="*")
    return parser


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--space", SPACE], {"space": SPACE}),
        ([f"--space={SPACE}"], {"space": SPACE}),
        (["--spa", SPACE], {"space": SPACE}),
        (["--space", "-.5,1"], {"space": "-.5,1"}),
        (["--ground", "-350"], {"ground": -350.0}),
        (["--ground", "-350.5", "a"], {"ground": -350.5, "rest": ["a"]}),
        (["--ground", "-3.5e2"], {"ground": -350.0}),
        (["--ground=-1e3"], {"ground": -1000.0}),
        (["--offsets-ms", "-5", "0", "-7.5"], {"offsets_ms": [-5.0, 0.0, -7.5]}),
        (["--flag", "--space", SPACE, "b"], {"flag": True, "space": SPACE, "rest": ["b"]}),
    ],
)
def test_negative_values_are_values(parser, arguments, expected):
    found = vars(parser.parse_args(arguments))
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("arguments", [["--space", "--flag"], ["--space"], ["--spice", "-1,0"]])
def test_options_are_no_values(parser, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_space_takes_what_rig_space_prints(tmp_path, capsys):
    # A rig whose space has a negative centre.
    moved = tmp_path / "moved.yaml"
    assert cli.main(["rig", "convert", RIG, str(moved), "--space", SPACE]) == 0
    assert str(load_rig(moved).space) == SPACE
    capsys.readouterr()
    away = tmp_path / "away.yaml"
    away.write_text(moved.read_text())
    assert cli.main(["rig", "space", str(away)]) == 0
    printed = capsys.readouterr().out.strip()
    for given in (["--space", printed], [f"--space={printed}"]):
        assert cli.main(["rig", "convert", str(away), str(tmp_path / "out.yaml"), *given]) == 0
        assert str(load_rig(tmp_path / "out.yaml").space) == printed


def test_describe_error_never_has_two_lines():
    for error, _, _ in ENDS.values():
        if isinstance(error, Exception):
            assert "\n" not in describe_error(error)
