"""The compiled voxel kernels give the reference's values and gradients, on every device here."""

import ctypes
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from voxelpose_core.datasets.random_rigs import sample_rigs, sample_spaces
from voxelpose_core.voxel import (
    Boxes,
    bindings,
    feature_volumes,
    implementation,
    kernels,
    op,
    pack_heatmaps,
    sampling_grid,
    torch_ops,
    torch_reference,
)

HEATMAP = (48, 32)
EMULATOR = Path(__file__).parent / "cuda_emulator"
GPUS = ["cuda"] if torch.cuda.is_available() else []


@pytest.fixture(scope="session")
def emulated(tmp_path_factory):
    """voxel_cuda.cu, launches and barriers included, run by this CPU (see test/cuda_emulator)."""
    try:
        compiler = kernels._cpp_compiler()
    except kernels.BuildError as error:
        pytest.skip(str(error))
    library = tmp_path_factory.mktemp("emulator") / "voxel_cuda.so"
    flags = ["-x", "c++", "-std=c++17", "-O1", "-fPIC", "-shared", "-I", EMULATOR]
    subprocess.run([*compiler, *flags, kernels.SOURCES / "voxel_cuda.cu", "-o", library], check=True)
    return bindings.Kernel("emulated", ctypes.CDLL(str(library)), frozenset(bindings.ELEMENTS))


@pytest.fixture(params=["cpu", "cuda emulated on cpu", *GPUS])
def device(request, monkeypatch):
    name = request.param.split()[-1]
    if bindings.kernel_for(torch.device(name)) is None:
        pytest.skip(f"no compiler for the kernel of {name}")
    if request.param == "cuda emulated on cpu":
        emulated = request.getfixturevalue("emulated")
        monkeypatch.setattr(bindings, "kernel_for", lambda device: emulated)
    return torch.device(name)


def scenes(view_count, joints, batch=2, seed=0):
    """Smooth heatmaps (B, V, J, H, W) that leave [0, 1], and rigs with distorted cameras."""
    generator = torch.Generator().manual_seed(seed)
    views = sample_rigs(sample_spaces(batch, generator), view_count, HEATMAP, generator)
    shape = (batch * view_count, joints, HEATMAP[1] // 4, HEATMAP[0] // 4)
    coarse = torch.rand(shape, generator=generator) * 1.6 - 0.2
    heatmaps = F.interpolate(coarse, size=HEATMAP[::-1], mode="bilinear")
    return heatmaps.unflatten(0, (batch, view_count)), views


SIZE, VOXELS = (2500.0, 2000.0, 1800.0), (12, 8, 20)


def boxes(size=SIZE, voxels=VOXELS, count=5, batch=2, seed=0, reach=6000.0):
    """Boxes in and beside the space of each of the scenes."""
    generator = torch.Generator().manual_seed(seed)
    centers = (torch.rand(count, 3, generator=generator) - 0.5) * torch.tensor([reach, reach, 2000])
    return Boxes(centers, torch.arange(count) % batch, size, voxels)


def on(device, boxes):
    """The same boxes there."""
    centers, scene = boxes.centers.to(device), boxes.scene.to(device)
    return dataclasses.replace(boxes, centers=centers, scene=scene)


def moved(views, change):
    """The same views, some of whose tensors are replaced."""
    return dataclasses.replace(views, **change)


def both(device, heatmaps, views, boxes, **options):
    """(kernel's values and gradient, reference's) for a gradient drawn at random."""
    answers = []
    for function in (feature_volumes, torch_reference.feature_volumes):
        leaf = heatmaps.detach().to(device).requires_grad_()
        extra = (
            options
            if function is feature_volumes
            else {key: options[key] for key in options if key == "count_points_behind"}
        )
        volumes = function(leaf, views.map(lambda t: t.to(device)), on(device, boxes), **extra)
        generator = torch.Generator().manual_seed(9)
        gradient = torch.randn(volumes.shape, generator=generator).to(device)
        volumes.float().backward(gradient)
        answers.append((volumes.detach().cpu(), leaf.grad.cpu()))
    return answers


def assert_same(kernel, reference, tolerance=2e-3):
    """Equal, but for voxels so near the border of an image that rounding decides on which side."""
    (values, gradient), (expected, expected_gradient) = kernel, reference
    assert values.shape == expected.shape and gradient.shape == expected_gradient.shape
    assert expected.abs().max() > 0.1 and expected_gradient.abs().max() > 0.1
    difference = (values.float() - expected).abs()
    assert (difference > tolerance).float().mean() < 2e-3
    wrong = (gradient - expected_gradient).abs() > tolerance * expected_gradient.abs().max()
    assert wrong.float().mean() < 2e-3
    assert (gradient - expected_gradient).norm() < 0.03 * expected_gradient.norm()


@pytest.mark.parametrize("view_count, joints", [(1, 17), (2, 1), (3, 15), (5, 8), (16, 17), (2, 41)])
def test_random_rigs(device, view_count, joints):
    heatmaps, views = scenes(view_count, joints, seed=view_count)
    assert_same(*both(device, heatmaps, views, boxes()))


def test_all_distortion_coefficients(device):
    heatmaps, views = scenes(4, 5)
    lens = torch.tensor([-0.21, 0.06, 2e-3, -3e-3, 0.011, 0.05, -0.02, 0.004])
    views = moved(views, {"distortion": lens.expand(2, 4, 8).clone()})
    assert_same(*both(device, heatmaps, views, boxes()))


def test_fisheyes_beside_pinholes(device):
    heatmaps, views = scenes(4, 5)
    lens = torch.tensor([0.05, -0.01, 3e-3, -1e-3, 0, 0, 0, 0]).expand(2, 4, 8)
    fisheye = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 1]])
    change = {
        "fisheye": fisheye,
        "distortion": torch.where(fisheye[..., None] > 0, lens, views.distortion),
        "valid_radius": torch.where(fisheye > 0, 0.9, views.valid_radius),
    }
    # Wide boxes: the valid angle cuts some of their voxels off.
    wide = boxes((6000.0, 6000.0, 2000.0))
    kernel, reference = both(device, heatmaps, moved(views, change), wide)
    assert_same(kernel, reference)
    pinhole = both(device, heatmaps, views, wide)[0]
    assert (kernel[0] - pinhole[0]).abs().max() > 0.1


@pytest.mark.parametrize("count_points_behind", [False, True])
def test_cameras_inside_the_boxes(device, count_points_behind):
    heatmaps, views = scenes(3, 6)
    centers = views.C[:, 0] + torch.tensor([50.0, -80, 60])
    assert_same(
        *both(
            device,
            heatmaps,
            views,
            Boxes(centers, torch.arange(2), SIZE, VOXELS),
            count_points_behind=count_points_behind,
        )
    )


def sparse(heatmaps, share, seed=3):
    """The same with few pixels that are not zero, among them corners and whole rows."""
    kept = torch.rand(heatmaps.shape, generator=torch.Generator().manual_seed(seed)) < share
    kept[..., 0, 0] = kept[..., -1, -1] = True
    kept[:, 0, 0, 5] = True
    return torch.where(kept, heatmaps, -0.0)


@pytest.fixture
def poisoned_memory(monkeypatch):
    """What the kernels leave unwritten in packed heatmaps is not a number."""
    empty = torch_ops._empty_packed

    def poisoned(heatmaps):
        packed, occupied = empty(heatmaps)
        return packed.fill_(float("nan")), occupied.fill_(77)

    monkeypatch.setattr(torch_ops, "_empty_packed", poisoned)


@pytest.mark.parametrize("joints", [1, 17, 41])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.05])
@pytest.mark.parametrize("channels_last", [False, True])
def test_sparse_heatmaps(device, poisoned_memory, joints, share, channels_last):
    heatmaps, views = scenes(3, joints)
    # Small boxes, so that some see nothing at all; their voxels lie densely.
    small = boxes((300.0, 300.0, 300.0), (6, 5, 13), 40, reach=4000.0)
    heatmaps = sparse(heatmaps, share)
    for layout in (heatmaps, heatmaps.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)):
        kernel, reference = both(device, layout, views, small, channels_last=channels_last)
        torch.testing.assert_close(kernel[0], reference[0], rtol=0, atol=2e-3)
        assert (kernel[1] - reference[1]).norm() < 0.01 * reference[1].norm()
    assert 1e-4 < (reference[0] > 0).float().mean() < 0.9
    # Boxes whose voxels lie in one row of a heatmap or none.
    assert any(not box.any() for box in reference[0])


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("lens", ["pinhole", "rational", "fisheye"])
def test_a_sampling_grid_changes_nothing(device, behind, lens):
    heatmaps, views = scenes(3, 17)
    if lens != "pinhole":
        k = torch.tensor([0.05, -0.01, 3e-3, -1e-3, 0, 0.02, 0, 0]) * (lens == "rational")
        change = {"distortion": views.distortion + k}
        if lens == "fisheye":
            change["fisheye"] = torch.ones_like(views.fisheye)
        views = moved(views, change)
    views, plain = views.map(lambda t: t.to(device)), on(device, boxes())
    located = dataclasses.replace(plain, sampling=sampling_grid(views, plain, HEATMAP, behind))
    assert located.sampling is not None
    # Which views are present is not part of it.
    for present in (views.present, torch.tensor([[1.0, 0, 1], [0, 1, 1]], device=device)):
        some = moved(views, {"present": present})
        answers = [
            both(device, sparse(heatmaps, 0.3), some, these, count_points_behind=behind)[0]
            for these in (located, plain)
        ]
        if device.type == "cuda":
            # Threads add to a pixel's gradient in any order, and compilers fuse multiplications and
            # additions in two kernels differently.
            assert_same(*answers, tolerance=1e-4)
        else:
            torch.testing.assert_close(*answers, rtol=0, atol=0)


def test_a_sampling_grid_of_other_boxes_or_heatmaps_is_refused(monkeypatch):
    if implementation("cpu") == bindings.REFERENCE:
        pytest.skip("no compiler")
    heatmaps, views = scenes(3, 2)
    grid = sampling_grid(views, boxes(), HEATMAP)
    with pytest.raises(ValueError, match=r"grid is \(5, 3, 1920\), expected \(4, 3, 1920\)"):
        feature_volumes(heatmaps, views, dataclasses.replace(boxes(count=4), sampling=grid))
    with pytest.raises(ValueError, match=r"heatmaps of \(48, 32\), expected \(47, 32\)"):
        feature_volumes(heatmaps[..., 1:], views, dataclasses.replace(boxes(), sampling=grid))
    monkeypatch.setattr(op, "_MOST_GRID_BYTES", 12 * grid.pixel.numel() - 1)
    assert sampling_grid(views, boxes(), HEATMAP) is None


def test_boxes_that_reach_far_outside_every_image(device):
    heatmaps, views = scenes(3, 6)
    answers = both(device, heatmaps, views, boxes((30000.0, 30000.0, 9000.0), reach=9000.0))
    assert_same(*answers)
    assert (answers[1][0] == 0).float().mean() > 0.3


def test_a_valid_radius_hides_the_rim(device):
    heatmaps, views = scenes(3, 6)
    whole = both(device, heatmaps, views, boxes())[0][0]
    views = moved(views, {"valid_radius": torch.full_like(views.valid_radius, 0.2)})
    kernel, reference = both(device, heatmaps, views, boxes())
    assert_same(kernel, reference)
    assert (kernel[0] - whole).abs().max() > 0.1


def test_absent_views(device):
    heatmaps, views = scenes(3, 6)
    present = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    kernel, reference = both(device, heatmaps, moved(views, {"present": present}), boxes())
    assert_same(kernel, reference)
    assert kernel[1][0, 1].abs().max() == 0 and kernel[1][1, 1].abs().max() > 0


def test_no_boxes_and_boxes_that_nobody_sees(device):
    heatmaps, views = scenes(2, 3)
    for centers in (torch.zeros(0, 3), torch.full((2, 3), 1e6)):
        nowhere = Boxes.in_one_scene(centers, SIZE, VOXELS)
        values, gradient = both(device, heatmaps, views, nowhere)[0]
        assert values.shape == (len(centers), 3, *VOXELS)
        assert not values.any() and not gradient.any()


def test_values_and_views_that_are_not_finite_crash_nothing(device):
    heatmaps, views = scenes(2, 3)
    heatmaps[0, 0, 0, 0, 0] = float("nan")
    lens = torch.full_like(views.distortion, 1e30)
    values = both(device, heatmaps, moved(views, {"distortion": lens}), boxes())[0][0]
    assert values.shape == (5, 3, *VOXELS)


@pytest.mark.parametrize("dtype, digits", [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_half_precision_volumes_are_the_rounded_ones(device, dtype, digits):
    heatmaps, views = scenes(3, 17)
    arguments = (views, boxes())
    full = both(device, heatmaps, *arguments)[0]
    half = both(device, heatmaps, *arguments, dtype=dtype)[0]
    assert half[0].dtype == dtype
    assert ((half[0].float() - full[0]).abs() <= digits * full[0] + 1e-7).all()
    # The gradient of a rounded volume arrives rounded.
    assert (half[1] - full[1]).norm() < 2 * digits * full[1].norm()


@pytest.mark.parametrize("joints", [3, 17])
def test_channels_last_is_the_same_in_another_order(device, joints):
    heatmaps, views = scenes(3, joints)
    plain = both(device, heatmaps, views, boxes())[0]
    last = both(device, heatmaps, views, boxes(), channels_last=True)[0]
    torch.testing.assert_close(last[0], plain[0], rtol=0, atol=0)
    torch.testing.assert_close(last[1], plain[1], rtol=1e-5, atol=1e-5)
    volumes = feature_volumes(
        heatmaps.to(device),
        views.map(lambda t: t.to(device)),
        on(device, boxes()),
        channels_last=True,
    )
    assert volumes.is_contiguous(memory_format=torch.channels_last_3d)


def test_heatmaps_in_any_memory_layout(device):
    heatmaps, views = scenes(3, 5)
    views = views.map(lambda t: t.to(device))
    heatmaps = heatmaps.to(device)
    last = heatmaps.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    assert not last.is_contiguous()
    ours = [feature_volumes(h, views, on(device, boxes())) for h in (heatmaps, last)]
    torch.testing.assert_close(*ours, rtol=0, atol=0)


def test_threads_do_not_change_the_answer():
    if implementation("cpu") == bindings.REFERENCE:
        pytest.skip("no compiler")
    heatmaps, views = scenes(3, 17)
    answers, before = [], torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            answers.append(both("cpu", heatmaps, views, boxes())[0])
    finally:
        torch.set_num_threads(before)
    for one, three in zip(*answers, strict=True):
        torch.testing.assert_close(one, three, rtol=0, atol=0)


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize(
    "change, words",
    [
        ({"scene": torch.tensor([0, 2])}, "scene is in 0..2, expected 0..1"),
        ({"scene": torch.tensor([-1, 0])}, "scene is in -1..0"),
        ({"scene": torch.tensor([0])}, r"scene \(1,\), expected \(N, 3\) and \(N,\)"),
        ({"centers": torch.zeros(2, 2)}, r"centers are \(2, 2\)"),
        ({"voxels": (4, 0, 4)}, "three positive numbers"),
        ({"heatmaps": torch.zeros(2, 3, 1, 8, 8)}, r"views are \(2, 2\), expected \(2, 3\)"),
    ],
)
def test_arguments_that_do_not_go_together(change, words, reference):
    heatmaps, views = scenes(2, 1)
    given = {"centers": torch.zeros(2, 3), "scene": torch.tensor([0, 1]), "voxels": VOXELS} | change
    heatmaps = given.pop("heatmaps", heatmaps)
    with bindings.use(bindings.REFERENCE if reference else "auto"):
        with pytest.raises(ValueError, match=words):
            feature_volumes(heatmaps, views, Boxes(size=SIZE, **given))


def test_the_cuda_kernel_compiles(tmp_path, monkeypatch):
    monkeypatch.setenv("VOXELPOSE_KERNELS", str(tmp_path))
    try:
        kernels._nvcc()
    except kernels.BuildError as error:
        pytest.skip(str(error))
    library = ctypes.CDLL(str(kernels.cuda_library((9, 0))))
    functions = ("voxel_pack", "voxel_spots", "voxel_forward", "voxel_backward", "voxel_unpack")
    for function in functions:
        assert getattr(library, function)


def test_packed_heatmaps_are_read_in_once(monkeypatch):
    if implementation("cpu") == bindings.REFERENCE:
        pytest.skip("no compiler")
    heatmaps, views = scenes(3, 5)
    calls = []
    call = bindings.Kernel.call
    monkeypatch.setattr(
        bindings.Kernel, "call", lambda self, name, *a: (calls.append(name), call(self, name, *a))
    )
    packed = pack_heatmaps(heatmaps)
    assert pack_heatmaps(packed) is packed
    first, again = (feature_volumes(packed, views, boxes()) for _ in range(2))
    other = feature_volumes(heatmaps + 0.1, views, boxes())
    heatmaps += 0.1
    still = feature_volumes(packed, views, boxes())
    after = feature_volumes(heatmaps, views, boxes())
    assert calls.count("voxel_pack") == 3
    assert torch.equal(first, again) and torch.equal(first, still)
    assert torch.equal(after, other) and not torch.equal(first, after)


def test_gradients_of_packed_heatmaps_add_up(device):
    heatmaps, views = scenes(3, 5)
    views, these = views.map(lambda t: t.to(device)), on(device, boxes())
    gradients = []
    for pack in (pack_heatmaps, lambda same: same):
        leaf = heatmaps.clone().to(device).requires_grad_()
        source = pack(leaf)
        sum(feature_volumes(source, views, these).square().sum() for _ in range(2)).backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0.1


def in_process(script, **environment):
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


ASK = """
from voxelpose_core.voxel import implementation
print(implementation("cpu"))
print(implementation("cpu"))
"""


@pytest.mark.parametrize("compiler, words", [("/no/such/compiler", "cannot run"), ("false", "failed")])
def test_without_a_compiler_the_reference_runs_and_one_line_says_so(tmp_path, compiler, words):
    done = in_process(ASK, CXX=compiler, VOXELPOSE_KERNELS=str(tmp_path))
    assert done.stdout.split() == ["torch_reference"] * 2
    (line,) = done.stderr.strip().splitlines()
    assert "plain PyTorch" in line and words in line


def test_a_kernel_is_built_once(tmp_path):
    if implementation("cpu") == bindings.REFERENCE:
        pytest.skip("no compiler")
    made = []
    for compiler in ("", "/no/such/compiler"):  # the second process needs none
        done = in_process(ASK, CXX=compiler, VOXELPOSE_KERNELS=str(tmp_path))
        assert done.stdout.split() == ["cpp"] * 2 and done.stderr == ""
        (library,) = tmp_path.iterdir()
        made.append(library.stat().st_mtime_ns)
    assert library.suffix == ".so" and made[0] == made[1]


def test_the_reference_can_be_asked_for():
    done = in_process(ASK, VOXELPOSE_KERNEL="torch_reference")
    assert done.stdout.split() == ["torch_reference"] * 2 and done.stderr == ""
