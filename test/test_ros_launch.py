"""Launch files start what they say, and `make demo` the same; with launch_ros or a stand-in for it."""

import importlib.util
import inspect
import json
import os
import re
import sys
from pathlib import Path

import launch_stand_in
import numpy as np
import pytest
import yaml

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

import rclpy
from builtin_interfaces.msg import Time
from ros_processes import look_at, room_rig
from sensor_msgs.msg import Image
from test_documentation import generator
from visualization_msgs.msg import MarkerArray

from voxelpose_core.datasets import panoptic
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_ros import bringup, demo, foxglove
from voxelpose_ros.diagnostics import Health
from voxelpose_ros.outputs import Outputs
from voxelpose_ros.parameters import Parameters
from voxelpose_ros.settings import NodeSettings

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


@pytest.fixture
def published():
    """Topic -> type of what the node publishes with default names, of a rig with the cameras a and b c."""
    rclpy.init()
    node = rclpy.create_node(bringup.NODE_NAME, allow_undeclared_parameters=True)
    outputs = Outputs(node, ("a", "b c"), NodeSettings.read(Parameters(node)), lambda *policy: None)
    yield {publisher.topic_name: publisher.msg_type for publisher in node.publishers}
    outputs.close()
    node.destroy_node()
    rclpy.shutdown()


def test_the_rviz_file_shows_what_the_node_publishes(published):
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
    assert all(published[topic] is MarkerArray for topic in shown)
    assert {"Grid", "TF"} <= {d["Class"].split("/")[1] for d in displays}


def panels_of(tree):
    """The names of the panels in a Foxglove layout's tree."""
    if isinstance(tree, str):
        return [tree]
    assert tree["direction"] in ("row", "column") and 0 < tree["splitPercentage"] < 100
    return panels_of(tree["first"]) + panels_of(tree["second"])


def test_the_foxglove_layout_shows_what_the_node_publishes(published):
    shipped = json.loads((ROOT / foxglove.LAYOUT).read_text())
    cameras = [look_at(name, np.array([5e3, y, 2e3]), np.zeros(3), (640, 480)) for name, y in CAMERAS]
    of_rig = foxglove.rig_layout(Rig(tuple(cameras), frame="map"), f"/{bringup.NODE_NAME}")
    for layout in (shipped, of_rig):
        assert sorted(panels_of(layout["layout"])) == sorted(layout["configById"])
        # As panels of Foxglove are called in its layouts.
        kinds = {name.partition("!")[0] for name in layout["configById"]}
        assert kinds == {"3D", "Image", "DiagnosticSummary", "Plot"}
        scene = layout["configById"]["3D!people"]
        assert set(scene["topics"]) == {topic for topic, kind in published.items() if kind is MarkerArray}
        assert all(settings["visible"] for settings in scene["topics"].values())
        assert scene["followTf"] == scene["layers"]["ground"]["frameId"]
        assert layout["configById"]["DiagnosticSummary!health"]["topicToRender"] == "/diagnostics"
    images = [panel for name, panel in of_rig["configById"].items() if name.startswith("Image!")]
    shown = [panel["imageMode"]["imageTopic"] for panel in images]
    assert sorted(shown) == sorted(topic for topic, kind in published.items() if kind is Image)
    assert [panel["foxglovePanelTitle"] for panel in images] == ["a", "b c"]
    assert of_rig["configById"]["3D!people"]["followTf"] == "map"
    # Without a rig, Foxglove takes the first image that there is.
    assert shipped["configById"]["Image!camera"]["imageMode"] == {}


CAMERAS = [("a", 1e3), ("b c", -1e3)]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_foxglove_panels_of_any_number_of_cameras_have_the_same_size(count):
    names = [f"Image!{index}" for index in range(count)]

    def areas(tree, width, height):
        if isinstance(tree, str):
            return {tree: (width, height)}
        share, row = tree["splitPercentage"] / 100, tree["direction"] == "row"
        first = areas(tree["first"], width * (share if row else 1), height * (1 if row else share))
        second = areas(tree["second"], width * (1 - share if row else 1), height * (1 if row else 1 - share))
        return first | second

    found = areas(foxglove._grid(names), 1.0, 1.0)
    assert list(found) == names
    heights = [height for _, height in found.values()]
    assert heights == pytest.approx([heights[0]] * count)
    assert min(width for width, _ in found.values()) > 0.3


def test_what_the_foxglove_layout_plots_is_in_the_diagnostics():
    health = Health(bringup.NODE_NAME, "rig", {}, 0.0)
    health.frame_set(12.5, {"total": 3.0}, 1, 0, 2, 1.0)
    report = health.report(Time(), 2.0, True, {}, {}, {}, [])
    values = {(s.name, v.key): float_of(v.value) for s in report.status for v in s.values}
    panels = json.loads((ROOT / foxglove.LAYOUT).read_text())["configById"]
    plots = [panel for name, panel in panels.items() if name.startswith("Plot!")]
    paths = [path["value"] for plot in plots for path in plot["paths"]]
    pattern = r'/diagnostics\.status\[:\]\{name=="(.+?)"\}\.values\[:\]\{key=="(.+?)"\}\.value'
    plotted = [values[re.fullmatch(pattern, path).groups()] for path in paths]
    assert len(plotted) == 3 and plotted[:2] == [12.5, 12.5] and plotted[2] > 0


def float_of(text):
    try:
        return float(text)
    except ValueError:
        return None


def foxglove_bridge_is_installed(monkeypatch, installed):
    from ament_index_python import packages

    prefix_of = packages.get_package_prefix

    def get_package_prefix(name):
        if name != "foxglove_bridge":
            return prefix_of(name)
        if not installed:
            raise packages.PackageNotFoundError(name)
        return "/opt/ros"

    monkeypatch.setattr(packages, "get_package_prefix", get_package_prefix)


def test_foxglove_comes_with_a_layout_and_the_transforms(launched, rig, tmp_path, monkeypatch, capfd):
    foxglove_bridge_is_installed(monkeypatch, True)
    monkeypatch.setenv("ROS_HOME", str(tmp_path / "ros"))
    started = launched("rig.launch.py", rig=rig, rviz="false", foxglove="true")
    assert started["foxglove_bridge"].package == "foxglove_bridge" and "rviz2" not in started
    assert {f"camera{i}_transform" for i in range(4)} <= set(started)
    layout = tmp_path / "ros" / "room.foxglove.json"
    panels = json.loads(layout.read_text())["configById"]
    assert panels["Image!camera3"]["imageMode"]["imageTopic"] == "/voxelpose/overlay/camera3"
    said = capfd.readouterr()
    assert f"connect to ws://localhost:8765 and import the layout {layout}" in said.out + said.err
    # Where it cannot be written the shipped one is named.
    (tmp_path / "file").touch()
    monkeypatch.setenv("ROS_HOME", str(tmp_path / "file"))
    started = launched("rig.launch.py", rig=rig, rviz="false", foxglove="true")
    assert "foxglove_bridge" in started
    said = capfd.readouterr()
    assert f"{foxglove.LAYOUT} and choose the cameras (that of the rig cannot" in said.out + said.err


def test_without_foxglove_bridge_one_line_says_what_to_install(launched, rig, monkeypatch, capfd):
    foxglove_bridge_is_installed(monkeypatch, False)
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    started = launched("rig.launch.py", rig=rig, rviz="false", foxglove="true")
    assert "voxelpose" in started and "foxglove_bridge" not in started
    said = capfd.readouterr()
    (line,) = (line for line in (said.out + said.err).splitlines() if "foxglove" in line)
    assert "not installed (sudo apt install ros-jazzy-foxglove-bridge)" in line


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
