"""Launch files start what they say, and `make demo` the same; with launch_ros or a stand-in for it."""

import importlib.util
import inspect
import os
import re
import sys
from pathlib import Path

import launch_stand_in
import pytest
import yaml

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from ros_processes import room_rig
from test_documentation import generator

from voxelpose_core.datasets import panoptic
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import load_rig
from voxelpose_ros import bringup, demo

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))


@pytest.fixture
def launched(monkeypatch):
    """What a launch file starts with arguments, by node name."""
    launch_stand_in.install(monkeypatch)
    return lambda name, **arguments: launch_stand_in.started(ROOT / "launch" / name, **arguments)


@pytest.fixture
def rig(tmp_path):
    """Path of a rig file of four cameras."""
    room_rig(tmp_path / "room.yaml")
    return str(tmp_path / "room.yaml")


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda f: f.name)
def test_every_argument_is_described(file, monkeypatch):
    launch_stand_in.install(monkeypatch)
    entities = launch_stand_in.load(file).entities
    declared = [entity for entity in entities if type(entity).__name__ == "DeclareLaunchArgument"]
    for argument in declared:
        assert len(argument.description) > 5
        assert argument.default_value is not None or argument.name in ("rig", "sequence")


def test_the_demo_starts_player_and_node(launched, rig):
    started = launched("demo.launch.py", rig=rig, videos="a.mp4,b.mp4", device="cpu", rviz="false", rate="5")
    assert set(started) == {"voxelpose", "camera_player"}
    node, player = started["voxelpose"], started["camera_player"]
    assert node.executable == "voxelpose_node"
    assert node.parameters["rig_file"] == rig
    assert node.parameters["device"] == "cpu"
    assert node.parameters["qos.reliability"] == "reliable"
    assert node.parameters["sync.max_wait_ms"] == 100.0
    assert player.parameters == {"rig_file": rig, "videos": "a.mp4,b.mp4", "loop": True, "rate": 5.0}


def test_the_launch_file_and_the_demo_start_the_same(launched, rig):
    started = launched(
        "demo.launch.py", rig=rig, videos="a.mp4", rviz="false", loop="false", step_by_step="true"
    )
    described = demo.processes(rig, ["a.mp4"], 7, demo._parser().parse_args([]))
    for process in described:
        launched_one = started[process.name]
        parameters = launch_stand_in.parameters_of(process.params_file, process.name) | process.parameters
        if process.name == "camera_player":
            assert parameters.pop("max_frame_sets") == 7
            assert [launched_one.parameters["videos"]] == parameters.pop("videos")
        for name, value in parameters.items():
            assert launched_one.parameters[name] == value, name
        assert launched_one.environment == process.environment
        # What the launch file gives beside that are the defaults.
        others = set(launched_one.parameters) - set(parameters) - {"videos"}
        assert others <= set(launch_argument_defaults()) | {"loop", "rate"}


def launch_argument_defaults():
    return {argument.name for argument in generator.launch_arguments("rig.launch.py")}


def test_rviz_comes_with_the_cameras_transforms(launched, rig):
    started = launched("demo.launch.py", rig=rig, videos="a.mp4")
    assert started["rviz2"].package == "rviz2"
    arguments = started["rviz2"].arguments
    assert arguments[0] == "-d" and Path(arguments[1]).is_file()
    assert arguments[2:] == ["-f", "world"]
    transforms = {name for name, node in started.items() if node.package == "tf2_ros"}
    assert transforms == {f"camera{i}_transform" for i in range(4)}
    arguments = started["camera0_transform"].arguments
    values = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert values["--frame-id"] == "world"
    assert values["--child-frame-id"] == "camera0_optical_frame"
    assert float(values["--z"]) == pytest.approx(2.3)


@pytest.mark.parametrize("name", ["campus", "shelf"])
def test_a_shipped_rig_waits_for_its_cameras(launched, name):
    started = launched(f"{name}.launch.py", image_topic="/{camera}/image", rviz="false")
    assert set(started) == {"voxelpose"}
    parameters = started["voxelpose"].parameters
    shipped = load_rig(ROOT / "config" / "rigs" / f"{name}.yaml")
    assert load_rig(parameters["rig_file"]).names == shipped.names
    assert parameters["image_topic"] == "/{camera}/image"
    assert parameters["input"] == "image"
    assert parameters["autostart"] is True


@pytest.mark.parametrize("name", ["campus", "shelf"])
def test_a_shipped_rig_can_be_simulated(launched, name):
    started = launched(f"{name}.launch.py", simulate="true", people="2", rviz="false")
    assert set(started) == {"voxelpose", "rig_simulator"}
    assert started["voxelpose"].parameters["input"] == "keypoints"
    assert started["rig_simulator"].parameters["people"] == 2


def test_a_rig_of_ones_own_needs_its_file_only(launched, rig):
    started = launched("rig.launch.py", rig=rig)
    assert {"voxelpose", "rviz2"} <= set(started)
    assert started["voxelpose"].parameters["rig_file"] == rig
    with pytest.raises(RuntimeError, match='Required launch argument "rig"'):
        launched("rig.launch.py")


def test_parameters_come_from_a_file_too_and_launch_arguments_win(launched, rig, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("/voxelpose: {ros__parameters: {sync: {slop_ms: 8.0}, device: 'cuda:1'}}")
    started = launched("rig.launch.py", rig=rig, rviz="false", device="cpu", params_file=str(file))
    assert started["voxelpose"].parameters["sync.slop_ms"] == 8.0
    assert started["voxelpose"].parameters["device"] == "cpu"


def test_every_parameter_is_a_launch_argument_or_in_the_shipped_file_with_its_default(launched, rig):
    given = launched("rig.launch.py", rig=rig, rviz="false")["voxelpose"].parameters
    declared = {parameter.name: parameter.default for parameter in generator.node_parameters()}
    assert set(given) <= set(declared)
    # rcl cannot read an empty list; with RViz the frame and the calibration are the rig file's.
    assert set(declared) - set(given) == {"calibration", "topics", "sync.offsets_ms"}
    for name, value in given.items():
        if name != "rig_file":
            assert value == (declared[name] or type(value)()), name


@pytest.mark.parametrize("kind", ["hdVideos", "hdImgs"])
def test_a_panoptic_sequence_is_played(launched, tmp_path, kind):
    arguments = {"sequence": str(tmp_path), "cameras": "00_03,00_06", "rviz": "false"}
    (tmp_path / "calibration_160906_ian5.json").write_text("{}")
    with pytest.raises(InputError, match="neither .*hd_00_03.mp4' nor .*00_03' exists"):
        launched("panoptic.launch.py", **arguments)
    for camera in ("00_03", "00_06"):
        (tmp_path / "hdImgs" / camera).mkdir(parents=True)
    if kind == "hdVideos":
        (tmp_path / "hdVideos").mkdir()
        for camera in ("00_03", "00_06"):
            (tmp_path / "hdVideos" / f"hd_{camera}.mp4").touch()
    started = launched("panoptic.launch.py", **arguments)
    node, player = started["voxelpose"].parameters, started["camera_player"].parameters
    assert node["rig_file"] == player["rig_file"] == str(tmp_path / "calibration_160906_ian5.json")
    assert node["cameras"] == player["cameras"] == "00_03,00_06"
    assert node["qos.reliability"] == "reliable"
    views, others = player["videos"], player["image_folders"]
    if kind == "hdImgs":
        views, others = others, views
    assert not others
    for view in views.split(","):
        assert Path(view).exists() and "00_0" in view and kind in view


def test_a_panoptic_sequence_of_other_players_is_only_estimated(launched, tmp_path):
    (tmp_path / "calibration_160906_ian5.json").write_text("{}")
    started = launched("panoptic.launch.py", sequence=str(tmp_path), play="false", rviz="false")
    (node,) = started.values()
    assert node.parameters["qos.reliability"] == "best_effort"
    # The paper's cameras and space, which the launch file does not import: that would load PyTorch.
    assert node.parameters["cameras"].split(",") == list(panoptic.CAMERAS)
    space = [*panoptic.SPACE.center, *panoptic.SPACE.size]
    assert [float(value) for value in node.parameters["space"].split(",")] == space


def test_a_folder_that_is_no_panoptic_sequence_is_told(launched, tmp_path):
    with pytest.raises(InputError, match="has no calibration_"):
        launched("panoptic.launch.py", sequence=str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"simulate": "perhaps"}, RuntimeError, '"simulate" provided value "perhaps" is not valid'),
        ({"people": "many", "simulate": "true"}, ValueError, "many"),
        ({"reliability": "reliable"}, InputError, "'reliability' is now 'qos.reliability'"),
        ({"slop_ms": "20"}, InputError, "'sync.slop_ms' is no launch argument: write it into a param"),
        ({"tracking__smooth": "true"}, InputError, "'tracking.smooth' is no launch argument"),
        ({"params_file": "nowhere.yaml"}, InputError, "params_file 'nowhere.yaml' does not exist"),
    ],
)
def test_bad_arguments_are_named(launched, arguments, error, message):
    with pytest.raises(error, match=message):
        launched("campus.launch.py", rviz="false", **arguments)


def test_a_demo_without_a_recording_says_what_it_needs(launched, monkeypatch):
    monkeypatch.setattr(bringup, "_recording_folders", lambda: iter(()))
    with pytest.raises(InputError, match="expected a rig and one video per camera"):
        launched("demo.launch.py")
    with pytest.raises(InputError, match="rig and videos belong together"):
        launched("demo.launch.py", videos="a.mp4")


def test_the_command_line_carries_every_parameter(tmp_path):
    process = demo.Process(
        "voxelpose_ros.camera_player",
        "player",
        {"videos": ["a b.mp4", "7"], "rate": 2.5, "loop": True, "text": "10"},
        tmp_path / "parameters.yaml",
    )
    command = process.command()
    assert command[:3] == [sys.executable, "-m", "voxelpose_ros.camera_player"]
    assert "__node:=player" in command
    assert command[command.index("--params-file") + 1] == str(tmp_path / "parameters.yaml")
    pairs = [command[i + 1] for i, word in enumerate(command) if word == "-p"]
    given = {name: yaml.safe_load(value) for name, value in (p.split(":=", 1) for p in pairs)}
    assert given == {"videos": ["a b.mp4", "7"], "rate": 2.5, "loop": True, "text": "10"}


def test_every_executable_is_installed_and_has_a_main():
    installed = re.findall(
        r"^install_python_executable\((\w+) (voxelpose_ros\.\w+)\)",
        (ROOT / "CMakeLists.txt").read_text(),
        re.MULTILINE,
    )
    for _, module in installed:
        main = importlib.import_module(module).main
        assert list(inspect.signature(main).parameters) == ["args"]
    launched = {name for file in LAUNCH_FILES for name in re.findall(r'executable="(\w+)"', file.read_text())}
    assert launched == {executable for executable, _ in installed} - {"detector_node"}


def test_own_dds_settings_are_respected(monkeypatch):
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    settings = bringup.image_transport()
    if os.path.isdir("/dev/shm"):
        assert all(Path(value).is_file() for value in settings.values())
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "mine.xml")
    assert bringup.image_transport() == {}


def test_the_rviz_file_shows_what_the_node_publishes():
    config = yaml.safe_load((ROOT / "rviz" / "voxelpose.rviz").read_text())
    manager = config["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "world"
    displays = manager["Displays"]
    arrays = [d for d in displays if d["Class"].endswith("/MarkerArray")]
    shown = {d["Topic"]["Value"]: d["Topic"]["Durability Policy"] for d in arrays}
    assert shown == {
        f"/{bringup.NODE_NAME}/markers": "Volatile",
        f"/{bringup.NODE_NAME}/rig_markers": "Transient Local",
    }
    assert {"Grid", "TF"} <= {d["Class"].split("/")[1] for d in displays}


def test_the_rerun_viewer_sees_the_cameras_that_the_node_does(launched, rig):
    started = launched(
        "rig.launch.py",
        rig=rig,
        rviz="false",
        rerun="true",
        input="compressed",
        image_topic="/{camera}/color",
        qos__reliability="reliable",
        cameras="camera0,camera1",
    )
    viewer, node = started["rerun_view"], started["voxelpose"]
    assert (viewer.package, viewer.executable) == ("voxelpose_ros", "rerun_view")
    given = "rig_file cameras input image_topic keypoints_topic qos.reliability space ground"
    assert set(viewer.parameters) == set(given.split())
    for name, value in viewer.parameters.items():
        assert value == node.parameters[name], name
    assert viewer.parameters["input"] == "compressed"
    assert "rerun_view" not in launched("rig.launch.py", rig=rig, rviz="false")
    # Simulated people have no images.
    simulated = launched("shelf.launch.py", simulate="true", rviz="false", rerun="true")
    assert simulated["rerun_view"].parameters["input"] == "keypoints"
