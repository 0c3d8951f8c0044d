"""The managed node: configured, activated and undone by services; parameters that change live."""

import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter
from ros_processes import Cameras, Ros, parameter_name, python_command, room_rig

from voxelpose_ros.msg import Keypoints2DArray

NODE = "/voxelpose"
TOPIC = "/{camera}/keypoints"


class Managed:
    """A node process that waits to be configured, seen from outside."""

    def __init__(self, folder):
        self.ros = Ros(folder)
        self.rig_file = folder / "room.yaml"
        self.rig = room_rig(self.rig_file, cameras=3)
        self.cameras = Cameras(self.ros, self.rig, Keypoints2DArray, TOPIC)
        self.process = self.ros.start(
            python_command(
                "voxelpose_ros.node",
                autostart=False,
                rig_file=folder / "missing.yaml",
                input="keypoints",
                device="cpu",
                sync__max_wait_ms=3000,
                estimator__recenter=False,
                estimator__refine=False,
            )
        )

    def change(self, transition):
        request = Transition(id=transition)
        return self.ros.call(ChangeState, f"{NODE}/change_state", transition=request).success

    def state(self):
        return self.ros.call(GetState, f"{NODE}/get_state").current_state.id

    def set(self, **values):
        """Set parameters, `__` for the dot in a name; the reasons of those that were refused."""
        given = [
            Parameter(parameter_name(name), value=value).to_parameter_msg() for name, value in values.items()
        ]
        answer = self.ros.call(SetParameters, f"{NODE}/set_parameters", parameters=given)
        return [result.reason for result in answer.results if not result.successful]

    def activate(self):
        assert self.change(Transition.TRANSITION_ACTIVATE)
        self.cameras.wait_for_node(self.process)

    def listeners(self):
        """How many subscriptions the cameras have."""
        return sum(p.get_subscription_count() for p in self.cameras.publishers.values())

    def people(self):
        """How many people the node sees where one is."""
        return len(self.cameras.show(self.cameras.keypoints).skeletons)


@pytest.fixture(scope="module")
def managed(tmp_path_factory):
    managed = Managed(tmp_path_factory.mktemp("managed"))
    yield managed
    managed.ros.close()


def test_every_parameter_says_what_it_is(managed):
    names = managed.ros.call(ListParameters, f"{NODE}/list_parameters").result.names
    described = managed.ros.call(DescribeParameters, f"{NODE}/describe_parameters", names=names)
    rclpys = ("use_sim_time", "start_type_description_service")
    ours = [d for d in described.descriptors if d.name not in rclpys]
    assert len(ours) > 25
    for descriptor in ours:
        assert descriptor.description.endswith((" Needs a reconfigure.", " while the node runs."))
        takes_flags = "true" in descriptor.additional_constraints
        assert descriptor.type and descriptor.dynamic_typing == takes_flags
        if descriptor.type in (Parameter.Type.INTEGER.value, Parameter.Type.DOUBLE.value):
            assert descriptor.integer_range or descriptor.floating_point_range


def test_the_lifecycle_is_walked_through(managed):
    assert managed.state() == State.PRIMARY_STATE_UNCONFIGURED
    # What is wrong can be put right without another process.
    assert not managed.change(Transition.TRANSITION_CONFIGURE)
    assert managed.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert "missing.yaml: does not exist" in managed.process.output()
    assert not managed.set(rig_file=str(managed.rig_file))
    assert managed.change(Transition.TRANSITION_CONFIGURE)
    assert managed.state() == State.PRIMARY_STATE_INACTIVE
    inactive = lambda: managed.cameras.value("estimator", "state") == "inactive"  # noqa: E731
    managed.ros.spin_until(inactive, "diagnostics of the inactive node")
    assert managed.listeners() == 0

    managed.activate()
    assert managed.state() == State.PRIMARY_STATE_ACTIVE
    assert managed.people() == 1

    assert managed.change(Transition.TRANSITION_DEACTIVATE)
    managed.ros.spin_until(lambda: managed.listeners() == 0, "the end of the subscriptions")
    managed.activate()
    assert managed.people() == 1


def test_thresholds_and_limits_change_live(managed):
    assert not managed.set(estimator__keypoint_threshold=1.0)
    assert managed.people() == 0
    assert not managed.set(estimator__keypoint_threshold=0.1)
    assert not managed.set(sync__slop_ms=5.0, sync__max_wait_ms=2000.0, sync__min_cameras=3)
    assert managed.people() == 1
    assert not managed.set(tracking__smooth=True)
    assert not managed.set(tracking__smooth="auto")
    (said,) = managed.set(tracking__smooth="often")
    assert "'tracking.smooth' is 'often', expected one of auto, true, false" in said


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"weights": "other"}, "parameter 'weights' needs a reconfigure: deactivate and clean up"),
        ({"rig_file": "other.yaml"}, "parameter 'rig_file' needs a reconfigure"),
        ({"sync.min_cameras": 9}, "sync.min_cameras is 9, expected 1 to the number of cameras, 3"),
        ({"estimator.max_people": 1000}, "estimator.max_people out of range"),
        ({"estimator.joint_threshold": float("nan")}, "estimator.joint_threshold out of range"),
        ({"sync.slop_ms": "wide"}, "Wrong parameter type"),
        ({"slop_ms": 20.0}, "parameter 'slop_ms' is now 'sync.slop_ms'"),
        ({"sync.slop": 20.0}, "parameter 'sync.slop' is unknown, did you mean 'sync.slop_ms'?"),
        ({"colour": "red"}, "parameter 'colour' is unknown, expected one of those that `ros2 param list"),
    ],
)
def test_other_changes_are_refused_in_one_line(managed, values, reason):
    (said,) = managed.set(**values)
    assert reason in said
    assert "\n" not in said


def test_the_rig_file_is_read_again_when_it_changes(managed):
    text = managed.rig_file.read_text()
    managed.rig_file.write_text(text.replace("frame: world", "frame: hall"))
    moved = lambda: managed.cameras.show(managed.cameras.keypoints).header.frame_id  # noqa: E731
    managed.ros.spin_until(lambda: moved() == "hall", "the new frame")
    # A file that is half written leaves things as they are.
    managed.rig_file.write_text(text[:300])
    assert "calibration: " in managed.cameras.problem("estimator")
    assert moved() == "hall"
    managed.rig_file.write_text(text)
    managed.ros.spin_until(lambda: moved() == "world", "the old frame")


def test_clean_up_and_shut_down(managed):
    assert managed.change(Transition.TRANSITION_DEACTIVATE)
    assert managed.change(Transition.TRANSITION_CLEANUP)
    assert managed.state() == State.PRIMARY_STATE_UNCONFIGURED
    gone = lambda: managed.ros.node.count_publishers(f"{NODE}/skeletons") == 0  # noqa: E731
    managed.ros.spin_until(gone, "the end of the publishers")
    assert not managed.set(estimator__max_people=3, qos__depth=2)
    assert managed.change(Transition.TRANSITION_CONFIGURE)
    managed.activate()
    assert managed.people() == 1
    assert managed.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert managed.state() == State.PRIMARY_STATE_FINALIZED
    assert managed.ros.stop(managed.process) == 0, managed.process.output()
    assert "Traceback" not in managed.process.output()
