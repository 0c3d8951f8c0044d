"""The learning-free baseline: people from exact keypoints, wrong joints, absent cameras, and the table."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_datasets import write_actors, write_campus
from test_rays import detections_of, people_at, ring

from voxelpose_core.config import load_config
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.models.checkpoints import save_weights
from voxelpose_core.models.ray_pose import RayConfig, RayPose
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import COCO17

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SPACE = Space((0, 0, 1000), (5000, 5000, 2600))
PLACES = ((-900, 300), (800, -600), (300, 1200), (-500, -1300))


@pytest.fixture(scope="module", autouse=True)
def scripts():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def baseline(scripts):
    return importlib.import_module("pair_triangulation")


@pytest.fixture(scope="module")
def body(scripts):
    return importlib.import_module("body_limits")


def rig_of(views, lens="radial"):
    return Rig(cameras=ring(views, lens), space=SPACE, name="ring")


def errors(estimate, people):
    """(P, 17) mm from the nearest skeleton of each person."""
    found = np.array([s.joints for s in estimate.skeletons])
    gaps = np.linalg.norm(found[:, None] - people, axis=-1)
    return np.take_along_axis(gaps, gaps.mean(axis=-1).argmin(axis=0)[None, :, None], axis=0)[0]


@pytest.mark.parametrize("views,lens", [(2, "radial"), (3, "fisheye"), (4, "pinhole"), (5, "rational")])
def test_exact_keypoints_give_exact_people(baseline, views, lens):
    rig, people = rig_of(views, lens), people_at(*PLACES)
    method = baseline.PairTriangulation(rig)
    estimate = method.estimate_keypoints(detections_of(rig.cameras, people))
    assert len(estimate.skeletons) == len(PLACES)
    assert estimate.cameras == rig.names and estimate.below_floor == []
    assert list(estimate.timings_ms) == ["rays", "pairs", "clusters", "poses"]
    for joints, error in zip(people, errors(estimate, people), strict=True):
        seen = np.sum([camera.sees(joints) for camera in rig.cameras], axis=0)
        assert error[seen >= 2].max() < 2
    for skeleton in estimate.skeletons:
        assert np.isfinite(skeleton.joints).all() and 0.5 < skeleton.score <= 1


def test_a_camera_without_a_frame_and_one_without_people(baseline):
    rig, people = rig_of(5), people_at(*PLACES)
    keypoints = detections_of(rig.cameras, people)
    keypoints[1], keypoints[3] = None, np.zeros((0, 17, 3))
    estimate = baseline.PairTriangulation(rig).estimate_keypoints(keypoints)
    assert estimate.cameras == ("c0", "c2", "c3", "c4")
    assert len(estimate.skeletons) == len(PLACES) and errors(estimate, people).max() < 2


@pytest.mark.parametrize("views", [4, 5])
def test_wrong_joints_of_a_view_do_not_move_the_others_views_joints(baseline, views):
    rig, people = rig_of(views), people_at(*PLACES)
    keypoints = detections_of(rig.cameras, people)
    random = np.random.default_rng(5)
    for person in range(len(people)):
        for joint in random.choice(17, 4, replace=False):
            view = random.integers(views)
            keypoints[view][person, joint, :2] += random.choice([-90, 90], 2)
    estimate = baseline.PairTriangulation(rig).estimate_keypoints(keypoints)
    assert len(estimate.skeletons) == len(PLACES)
    # Least squares without weights would move these joints by decimetres.
    assert errors(estimate, people).max() < 20


def test_noise_is_averaged_over_views(baseline):
    people = people_at(*PLACES)
    few, many = (
        np.median(
            errors(
                baseline.PairTriangulation(rig).estimate_keypoints(detections_of(rig.cameras, people, 4.0)),
                people,
            )
        )
        for rig in (rig_of(3), rig_of(8))
    )
    assert many < few < 40


def test_joints_that_nobody_sees_are_filled_and_not_valid(baseline):
    rig, people = rig_of(4), people_at(*PLACES)
    keypoints = detections_of(rig.cameras, people)
    hidden = [COCO17.index(name) for name in ("left_ankle", "nose")]
    for view in keypoints:
        view[:, hidden, 2] = 0.0
    estimate = baseline.PairTriangulation(rig).estimate_keypoints(keypoints)
    gaps = errors(estimate, people)
    assert np.isfinite(gaps).all() and gaps[:, hidden].max() < 700 and np.median(gaps[:, hidden]) < 250
    for skeleton in estimate.skeletons:
        assert not skeleton.joint_valid[hidden].any() and skeleton.joint_valid.sum() == 15


def test_filled_joints_of_somebody_upright_lie_where_theirs_are(body):
    upright = body.upright() + [500.0, -200.0, 900.0]
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    people = np.stack([upright, upright @ turn.T])
    valid = np.ones((2, 17), dtype=bool)
    valid[:, [3, 9, 15]] = False
    broken = np.where(valid[..., None], people, np.nan)
    np.testing.assert_allclose(body.fill_joints(broken, valid), people, atol=1e-6)


def test_a_limb_of_two_metres_is_none(body):
    joints = body.upright()[None].copy()
    wrist = COCO17.index("left_wrist")
    joints[0, wrist, 0] += 2000
    valid = np.ones((1, 17), dtype=bool)
    assert np.flatnonzero(~body.plausible_joints(joints, valid)[0]).tolist() == [wrist]


def test_nobody_is_found_where_nobody_is(baseline):
    rig = rig_of(4)
    method = baseline.PairTriangulation(rig)
    empty = [np.zeros((0, 17, 3))] * 4
    assert method.estimate_keypoints(empty).skeletons == []
    assert method.estimate_keypoints([None] * 4).cameras == ()
    keypoints = detections_of(rig.cameras, people_at((0, 0)))
    assert method.estimate_keypoints([keypoints[0], *empty[1:]]).skeletons == []
    assert method.estimate_keypoints([keypoints[0], None, None, None]).skeletons == []
    assert len(method.estimate_keypoints(keypoints).skeletons) == 1


def test_people_outside_the_space_and_below_the_floor_are_left_out(baseline):
    rig, people = rig_of(4), people_at((0, 0), (1900, 0))
    keypoints = detections_of(rig.cameras, people)
    assert len(baseline.PairTriangulation(rig).estimate_keypoints(keypoints).skeletons) == 2
    small = baseline.PairTriangulation(rig, Space((0, 0, 1000), (1600, 1600, 2600)))
    assert len(small.estimate_keypoints(keypoints).skeletons) == 1
    high = baseline.PairTriangulation(
        Rig(cameras=rig.cameras, name="high", ground=600.0), Space((0, 0, 1900), (5000, 5000, 2600))
    )
    estimate = high.estimate_keypoints(keypoints)
    assert estimate.skeletons == [] and estimate.dropped_below_floor == 2


def test_previous_poses_leave_only_pairs_of_one_person(baseline):
    rig, people = rig_of(4), people_at(*PLACES)
    keypoints = detections_of(rig.cameras, people, 2.0)
    method = baseline.PairTriangulation(rig)
    first = method.estimate_keypoints(keypoints)
    detections = baseline._Detections.of(rig.cameras, keypoints, 0.1)
    one, other = detections.pairs()
    kept = method._agrees_with_previous(one, other, detections, keypoints)
    # Detections of all views have the people's order, so that a pair of one person has equal numbers.
    same = one % detections.depth == other % detections.depth
    assert same.sum() == 24 and len(one) == 96
    assert kept[same].all() and kept.sum() < 30
    second = method.estimate_keypoints(keypoints)
    np.testing.assert_allclose(
        [s.joints for s in second.skeletons], [s.joints for s in first.skeletons], atol=1e-6
    )


def test_somebody_new_is_found_beside_previous_people_and_after_a_gap(baseline):
    rig, people = rig_of(4), people_at(*PLACES)
    keypoints = detections_of(rig.cameras, people)
    method = baseline.PairTriangulation(rig)
    for count in (2, 4, 0, 3):
        estimate = method.estimate_keypoints([view[:count] for view in keypoints])
        assert len(estimate.skeletons) == count


def test_bad_input_names_the_camera(baseline):
    rig = rig_of(3)
    with pytest.raises(InputError, match="1 camera"):
        baseline.PairTriangulation(Rig(cameras=rig.cameras[:1], name="one"))
    method = baseline.PairTriangulation(rig)
    with pytest.raises(InputError, match="2 keypoint arrays.*3 cameras"):
        method.estimate_keypoints([None, None])
    with pytest.raises(InputError, match="camera 'c1'.*16"):
        method.estimate_keypoints([None, np.zeros((1, 16, 3)), None])
    broken = detections_of(rig.cameras, people_at((0, 0)))
    broken[0][0, 3] = np.nan
    assert len(method.estimate_keypoints(broken).skeletons) == 1


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Untrained weights of both models, small and fast."""
    folder = tmp_path_factory.mktemp("weights")
    save_weights(RayPose(RayConfig(width=16, heads=2, layers=(1,))), folder / "rays.safetensors")
    small = ["PICT_STRUCT.CUBE_SIZE=[8,8,8]", "MULTI_PERSON.INITIAL_CUBE_SIZE=[16,16,8]"]
    config = load_config(find_resource("config/universal/small.yaml"), small)
    save_weights(VoxelPose(config), folder / "voxels.safetensors")
    return ["--rays", folder / "rays.safetensors", "--voxels", folder / "voxels.safetensors"]


def compare(*arguments):
    command = [sys.executable, BENCHMARKS / "compare_methods.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=1200)


def test_one_table_of_all_methods(weights, tmp_path):
    campus, out = tmp_path / "campus", tmp_path / "out.json"
    write_campus(campus)
    labels = {(0, 751): 0.0, (2, 751): 1.5, (0, 826): 0.1, (2, 826): 1.5}
    write_actors(campus / "actorsGT.mat", labels, actors=3, frames=901)
    run = compare("--campus", campus, "--step", 75, "--rigs", 1, "--views", 3, "--out", out, *weights)
    assert run.returncode == 0, run.stderr
    processor, head, _, *lines = run.stdout.splitlines()
    assert processor.endswith(", 1 thread")
    assert [cell.strip() for cell in head.strip("|").split("|")][:3] == ["frame sets", "method", "PCP"]
    document = json.loads(out.read_text())
    rows = document["rows"]
    assert document["processor"] == processor and len(rows) == len(lines) == 6
    methods = ["ray model", "voxel nets", "learning-free"]
    assert [row["method"] for row in rows] == 2 * methods
    assert [row["count"] for row in rows] == [2] * 3 + [12] * 3
    assert all(row["ms"] > 0 and row["cpu_ms"] > 0 for row in rows)
    assert rows[3]["pcp"] is None and 0 <= rows[5]["ap100"] <= 100
    # Untrained nets find next to nothing; the baseline needs no weights.
    assert 0 <= rows[2]["pcp"] <= 100 and rows[5]["recall"] > 0.6 and rows[5]["mpjpe"] < 150
    for row, line in zip(rows, lines, strict=True):
        assert row["method"] in line and f"({row['count']})" in line


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "nothing to compare"),
        (("--shelf", "nowhere"), "nowhere"),
        (("--rigs", "-1"), "--rigs is -1"),
        (("--rigs", "1", "--rays", "nothing.safetensors"), "nothing.safetensors"),
    ],
)
def test_bad_arguments_are_one_line(arguments, words):
    run = compare(*arguments)
    assert run.returncode == 2 and words in run.stderr
    assert run.stderr.count("error:") == 1 and run.stdout == ""
