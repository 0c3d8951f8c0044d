"""Names of the nodes' parameters: groups, old names, names that are none, parameter files."""

import pytest
import rclpy
import yaml

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from ros_processes import room_rig
from test_documentation import generator

from voxelpose_ros import node as voxelpose_node
from voxelpose_ros import renamed_parameters
from voxelpose_ros.rig_simulator import RigSimulator

RENAMED = {
    "voxelpose_node": renamed_parameters.NODE,
    "detector_node": renamed_parameters.DETECTOR,
    "camera_player": renamed_parameters.PLAYER,
    "rig_simulator": renamed_parameters.SIMULATOR,
}


def declared(node):
    """Names of the parameters that a node declares."""
    if node == "voxelpose_node":
        return {parameter.name for parameter in generator.node_parameters()}
    return {parameter.name for parameter in generator.parameters_in_source(node)}


@pytest.mark.parametrize("node", RENAMED)
def test_old_names_are_gone_and_new_ones_are_there(node):
    assert set(RENAMED[node].values()) <= declared(node)
    assert not declared(node) & set(RENAMED[node])


@pytest.mark.parametrize("node", RENAMED)
def test_no_parameter_has_the_name_of_a_group(node):
    """In a parameter file a key is either a value or a group."""
    groups = {name.rpartition(".")[0] for name in declared(node)} - {""}
    assert not groups & declared(node)


def test_a_user_needs_few_parameters_and_the_experts_are_in_groups():
    others = declared("voxelpose_node") - set(generator.USER_PARAMETERS)
    assert len(generator.USER_PARAMETERS) <= 17
    assert sum("." in name for name in others) > 0.8 * len(others)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Makes the node, unconfigured, with the parameters of a file; returns it."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    made = []

    def start(parameters, name="/voxelpose"):
        file = tmp_path / "parameters.yaml"
        file.write_text(yaml.safe_dump({name: {"ros__parameters": parameters}}))
        rclpy.init(args=["--ros-args", "--params-file", str(file)], domain_id=97)
        made.append(voxelpose_node.VoxelPoseNode())
        return made[-1]

    yield start
    for node in made:
        node.destroy_node()
    rclpy.try_shutdown()


def test_groups_are_levels_of_a_parameter_file(start):
    node = start({"sync": {"slop_ms": 8.5}, "tracking.gate_mm": 300.0, "weights": "voxelpose"})
    assert node.get_parameter("sync.slop_ms").value == 8.5
    assert node.get_parameter("tracking.gate_mm").value == 300.0
    assert node.get_parameter("weights").value == "voxelpose"


def test_an_old_name_in_a_parameter_file_ends_the_start(tmp_path, capfd):
    file = tmp_path / "parameters.yaml"
    file.write_text("/**: {ros__parameters: {track_smooth: true}}")
    assert voxelpose_node.main(["node", "--ros-args", "--params-file", str(file)]) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line == "error: parameter 'track_smooth' is now 'tracking.smooth'"


def test_a_parameter_of_other_nodes_is_logged_and_ignored(start, capfd):
    node = start({"robot_description": "x", "use_sim_time": False}, "/**")
    said = capfd.readouterr().err
    assert "parameter 'robot_description' is unknown" in said and "it is ignored" in said
    assert said.count("is unknown") == 1
    assert not node.has_parameter("robot_description")


def test_unknown_names_cannot_be_set_later_and_nothing_beside_them_is(start):
    node = start({})
    given = [rclpy.Parameter("sync.slop_ms", value=7.0), rclpy.Parameter("slop_ms", value=7.0)]
    result = node.set_parameters_atomically(given)
    assert not result.successful
    assert result.reason == "parameter 'slop_ms' is now 'sync.slop_ms'"
    assert node.get_parameter("sync.slop_ms").value == 15.0
    assert not node.has_parameter("slop_ms")


def test_nodes_whose_parameters_are_fixed_answer_for_old_names_too(tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    room_rig(tmp_path / "room.yaml")
    rclpy.init(args=["--ros-args", "-p", f"rig_file:={tmp_path / 'room.yaml'}"], domain_id=97)
    node = RigSimulator()
    try:
        (old,) = node.set_parameters([rclpy.Parameter("noise_px", value=1.0)])
        assert old.reason == "parameter 'noise_px' is now 'faults.noise_px'"
        (fixed,) = node.set_parameters([rclpy.Parameter("faults.noise_px", value=1.0)])
        assert not fixed.successful and node.get_parameter("faults.noise_px").value == 2.0
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
