"""Launch files and demo start the same processes, from one description."""

import importlib.util
import inspect
import os
import sys
import types
from pathlib import Path

import pytest
import yaml

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from ros_processes import room_rig  # noqa: E402

from voxelpose_core.errors import InputError  # noqa: E402
from voxelpose_core.geometry.rig import load_rig  # noqa: E402
from voxelpose_ros import bringup  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))


class Recorded:
    """Any launch class: keeps what it was made with."""

    def __init__(self, *args, **options):
        self.args, self.options = args, options


class LaunchConfiguration(Recorded):
    def perform(self, context):
        return context[self.args[0]]


@pytest.fixture
def fake_launch(monkeypatch):
    """The parts of launch and launch_ros that launch files use."""
    modules = {
        "launch": {"LaunchDescription": Recorded},
        "launch.actions": {
            "DeclareLaunchArgument": Recorded,
            "OpaqueFunction": Recorded,
        },
        "launch.substitutions": {"LaunchConfiguration": LaunchConfiguration},
        "launch_ros": {},
        "launch_ros.actions": {"Node": Recorded},
    }
    for name, members in modules.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)


def load(file):
    spec = importlib.util.spec_from_file_location(file.name.replace(".", "_"), file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bring_up(name, **arguments):
    """What the launch file starts with these arguments: options of Node, by node name."""
    (description,) = load(ROOT / "launch" / name).generate_launch_description().args
    *declared, opaque = description
    context = {a.args[0]: a.options["default_value"] for a in declared}
    assert set(arguments) <= set(context)
    assert None not in (context | arguments).values()
    nodes = opaque.options["function"](context | arguments)
    return {node.options["name"]: node.options for node in nodes}


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda f: f.name)
def test_every_argument_is_described(fake_launch, file):
    (description,) = load(file).generate_launch_description().args
    *declared, _ = description
    assert declared
    for argument in declared:
        assert len(argument.options["description"]) > 5
        name, default = argument.args[0], argument.options["default_value"]
        assert isinstance(default, str) or name in ("rig", "sequence")


def test_the_demo_starts_player_and_node(fake_launch, tmp_path):
    room_rig(tmp_path / "room.yaml")
    rig = str(tmp_path / "room.yaml")
    started = bring_up(
        "demo.launch.py", rig=rig, videos="a.mp4,b.mp4", device="cpu", rviz="false", rate="5"
    )
    assert set(started) == {"voxelpose", "camera_player"}
    assert started["voxelpose"]["executable"] == "voxelpose_node"
    (parameters,) = started["voxelpose"]["parameters"]
    assert parameters["rig_file"] == rig
    assert parameters["device"] == "cpu"
    (parameters,) = started["camera_player"]["parameters"]
    assert parameters["videos"] == ["a.mp4", "b.mp4"]
    assert parameters["loop"] is True
    assert parameters["rate"] == 5.0


def test_the_launch_file_and_the_demo_start_the_same(fake_launch, tmp_path):
    room_rig(tmp_path / "room.yaml")
    rig = str(tmp_path / "room.yaml")
    launched = bring_up(
        "demo.launch.py", rig=rig, videos="a.mp4", rviz="false", loop="false", step_by_step="true"
    )
    described = bringup.demo(
        rig,
        ["a.mp4"],
        weights="universal",
        device="auto",
        detector="movenet",
        refine_detections=False,
        publish_tf=False,
    )
    for process in described:
        assert launched[process.name] == process.action().options


def test_rviz_comes_with_the_cameras_transforms(fake_launch, tmp_path):
    room_rig(tmp_path / "room.yaml")
    started = bring_up("demo.launch.py", rig=str(tmp_path / "room.yaml"), videos="a.mp4")
    assert started["rviz2"]["package"] == "rviz2"
    arguments = started["rviz2"]["arguments"]
    assert arguments[0] == "-d" and Path(arguments[1]).is_file()
    assert arguments[2:] == ["-f", "world"]
    transforms = {name for name, node in started.items() if node["package"] == "tf2_ros"}
    assert transforms == {f"camera{i}_transform" for i in range(4)}
    arguments = started["camera0_transform"]["arguments"]
    values = dict(zip(arguments[::2], arguments[1::2]))
    assert values["--frame-id"] == "world"
    assert values["--child-frame-id"] == "camera0_optical_frame"
    assert float(values["--z"]) == pytest.approx(2.3)


@pytest.mark.parametrize("name", ["campus", "shelf"])
def test_a_shipped_rig_waits_for_its_cameras(fake_launch, name):
    started = bring_up(f"{name}.launch.py", image_topic="/{camera}/image", rviz="false")
    assert set(started) == {"voxelpose"}
    (parameters,) = started["voxelpose"]["parameters"]
    shipped = load_rig(ROOT / "config" / "rigs" / f"{name}.yaml")
    assert load_rig(parameters["rig_file"]).names == shipped.names
    assert parameters["image_topic"] == "/{camera}/image"
    assert parameters["input"] == "image"
    assert parameters["autostart"] is True


@pytest.mark.parametrize("name", ["campus", "shelf"])
def test_a_shipped_rig_can_be_simulated(fake_launch, name):
    started = bring_up(f"{name}.launch.py", simulate="true", people="2", rviz="false")
    assert set(started) == {"voxelpose", "rig_simulator"}
    (parameters,) = started["voxelpose"]["parameters"]
    assert parameters["input"] == "keypoints"
    (parameters,) = started["rig_simulator"]["parameters"]
    assert parameters["people"] == 2


def test_a_rig_of_ones_own_needs_its_file_only(fake_launch, tmp_path):
    room_rig(tmp_path / "room.yaml")
    started = bring_up("rig.launch.py", rig=str(tmp_path / "room.yaml"))
    assert {"voxelpose", "rviz2"} <= set(started)
    (parameters,) = started["voxelpose"]["parameters"]
    assert parameters["rig_file"] == str(tmp_path / "room.yaml")
    with pytest.raises(AssertionError):
        bring_up("rig.launch.py")


@pytest.mark.parametrize("kind", ["hdVideos", "hdImgs"])
def test_a_panoptic_sequence_is_played(fake_launch, tmp_path, kind):
    (tmp_path / "calibration_160906_ian5.json").write_text("{}")
    with pytest.raises(InputError, match="neither .*hd_00_03.mp4' nor .*00_03' exists"):
        bring_up("panoptic.launch.py", sequence=str(tmp_path), cameras="00_03,00_06", rviz="false")
    for camera in ("00_03", "00_06"):
        (tmp_path / "hdImgs" / camera).mkdir(parents=True)
    if kind == "hdVideos":
        (tmp_path / "hdVideos").mkdir()
        for camera in ("00_03", "00_06"):
            (tmp_path / "hdVideos" / f"hd_{camera}.mp4").touch()
    started = bring_up(
        "panoptic.launch.py", sequence=str(tmp_path), cameras="00_03,00_06", rviz="false"
    )
    (node,) = started["voxelpose"]["parameters"]
    (player,) = started["camera_player"]["parameters"]
    assert node["cameras"] == player["cameras"] == ["00_03", "00_06"]
    assert node["space"] == "0,-500,800,8000,8000,2000"
    views = player["videos" if kind == "hdVideos" else "image_folders"]
    assert all(Path(view).exists() and "00_0" in view and kind in view for view in views)


def test_a_folder_that_is_no_panoptic_sequence_is_told(fake_launch, tmp_path):
    with pytest.raises(InputError, match="has no calibration_"):
        bring_up("panoptic.launch.py", sequence=str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"simulate": "perhaps"}, "'simulate' is 'perhaps', expected true or false"),
        ({"people": "many"}, "'people' is 'many', expected a number"),
    ],
)
def test_bad_arguments_are_named(fake_launch, arguments, message):
    with pytest.raises(InputError, match=message):
        bring_up("campus.launch.py", **arguments)


def test_a_demo_without_a_recording_says_what_it_needs(fake_launch, monkeypatch):
    monkeypatch.setattr(bringup, "_recording_folders", lambda: iter(()))
    with pytest.raises(InputError, match="expected a rig and one video a camera"):
        bring_up("demo.launch.py")


def test_the_command_line_carries_every_parameter(tmp_path):
    process = bringup.Process(
        "voxelpose_ros",
        "camera_player",
        "player",
        {"videos": ["a b.mp4", "7"], "rate": 2.5, "loop": True, "nothing": [], "text": "10"},
    )
    command = process.command()
    assert command[:3] == [sys.executable, "-m", "voxelpose_ros.camera_player"]
    assert "__node:=player" in command
    pairs = [command[i + 1] for i, word in enumerate(command) if word == "-p"]
    given = {name: yaml.safe_load(value) for name, value in (p.split(":=", 1) for p in pairs)}
    assert given == {"videos": ["a b.mp4", "7"], "rate": 2.5, "loop": True, "text": "10"}


def test_every_executable_is_installed_and_has_a_main():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    for executable, module in bringup._MODULES.items():
        assert f"install_python_executable({executable} {module})" in cmake
        main = importlib.import_module(module).main
        assert list(inspect.signature(main).parameters) == ["args"]


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
