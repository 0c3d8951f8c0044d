"""Typed configuration. The original's YAML files load unchanged, upper-case keys and all."""

from __future__ import annotations

import difflib
import math
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from voxelpose_core.errors import InputError
from voxelpose_core.safe_yaml import load_yaml


def _square(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


def _at_most(limit: int) -> AfterValidator:
    """Sizes beyond any use would fill the memory before anything else could be wrong."""

    def check(sizes: tuple[int, ...]) -> tuple[int, ...]:
        if min(sizes) < 1 or math.prod(sizes) > limit:
            raise ValueError(f"expected at least 1 each and at most {limit} in all")
        return sizes

    return AfterValidator(check)


# The original also takes one number for a square.
Size2D = Annotated[tuple[int, int], BeforeValidator(_square), _at_most(2**26)]
Size3D = tuple[float, float, float]
Voxels = Annotated[tuple[int, int, int], _at_most(2**24)]
Layers = Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(max_length=8)]
HeatmapSource = Literal["auto", "image", "pred", "gt", "simulated"]


class Section(BaseModel):
    """A block of settings. Attributes are lower-case, YAML keys upper-case.

    Keys in `unused` belong to the original's other projects: they are accepted and do nothing.
    """

    model_config = ConfigDict(
        extra="forbid",
        alias_generator=str.upper,
        populate_by_name=True,
        validate_assignment=True,
        coerce_numbers_to_str=True,
        protected_namespaces=(),  # the original has MODEL_FILE, and pydantic may keep model_ for itself
    )
    unused: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _drop_unused(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if key not in cls.unused}
        return data


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


class CudnnConfig(Section):
    """Switches of cuDNN."""

    benchmark: bool = True
    deterministic: bool = False
    enabled: bool = True


class DatasetConfig(Section):
    """Which data, and how they are read."""

    # DATA_FORMAT: each data set knows the names of its images.
    unused = _keys("BBOX CROP FLIP DATA_AUGMENTATION SCALE_FACTOR ROT_FACTOR DATA_FORMAT")

    # Folder of the data set; DATA_DIR goes before it.
    root: str = ""
    # Names in the registry (datasets/__init__.py).
    train_dataset: str = "panoptic"
    test_dataset: str = "panoptic"
    train_subset: str = "train"
    test_subset: str = "validation"
    # Joint, or joints whose mean is the root of a person. The joint sets know it: where it is
    # given, it must be the root of the test data set's.
    rootidx: int | tuple[int, ...] | None = None
    # Backbones are given RGB, in training as in the estimator.
    color_rgb: Literal[True] = True
    # The first so many cameras of the data set's list.
    camera_num: int = Field(5, ge=2)
    # Name of the joint set; by default the one with NETWORK.NUM_JOINTS joints.
    joint_set: str | None = None
    # Where heatmaps come from: the backbone's answer to images, 2D predictions, projected ground
    # truth, or (campus, shelf) simulated detections of it, with a detector's errors. "auto": images
    # where there is a BACKBONE_MODEL, predictions elsewhere.
    train_heatmap_src: HeatmapSource = "auto"
    test_heatmap_src: HeatmapSource = "auto"


class SyntheticConfig(Section):
    """Synthetic data sets: people placed in a rig and projected into its cameras."""

    # Calibration of the rig, any format that `voxelpose rig check` knows, for data set
    # "synthetic"; "campus_synthetic" and "shelf_synthetic" have theirs.
    rig: str = ""
    # Names of its cameras; all where there are none. CAMERA_NUM counts among them.
    cameras: tuple[str, ...] = ()
    # Empty: procedural people. Or the original's panoptic_training_pose.pkl, or a folder of
    # Panoptic sequences.
    people: str = ""
    # "heatmap": the original's, joints whose peaks are low. "detector": also jitter, misses,
    # swapped sides, false people (COCO-17 only).
    noise: Literal["heatmap", "detector"] = "heatmap"
    # Scenes in an epoch of training, and in a validation.
    train_frames: int = Field(3000, ge=1)
    test_frames: int = Field(200, ge=1)
    # At most so many people in a scene; None: as many as the original, or MAX_PEOPLE_NUM.
    max_people: int | None = Field(None, ge=1)


class NetworkConfig(Section):
    """Inputs and heatmaps of the network."""

    unused = _keys("INPUT_SIZE TARGET_TYPE AGGRE")

    # ImageNet weights of the backbone, or a whole pretrained backbone (*.pth, *.pth.tar).
    pretrained: str = ""
    pretrained_backbone: str = ""
    num_joints: int = Field(15, ge=1, le=256)
    # Width, height of the network's input and of its heatmaps, pixels.
    image_size: Size2D = (960, 512)
    heatmap_size: Size2D = (240, 128)
    # Standard deviation of a heatmap's Gaussian, heatmap pixels.
    sigma: float = Field(3.0, gt=0)
    # Sharpness of the soft-argmax (VoxelPose, section 3.3).
    beta: float = Field(100.0, gt=0)
    # Regress poses at the true centres instead of the proposals.
    use_gt: bool = False


class PoseResNetConfig(Section):
    """The 2D backbone of Xiao, Wu and Wei, "Simple Baselines", ECCV 2018."""

    # As many as NUM_DECONV_FILTERS has.
    unused = _keys("NUM_DECONV_LAYERS")

    num_layers: int = 50
    deconv_with_bias: bool = False
    num_deconv_filters: Layers = (256, 256, 256)
    num_deconv_kernels: Layers = (4, 4, 4)
    final_conv_kernel: int = 1


class MultiPersonConfig(Section):
    """The capture space and the proposals in it."""

    # Edge lengths and centre of the capture space, mm.
    space_size: Size3D = (8000.0, 8000.0, 2000.0)
    space_center: Size3D = (0.0, 0.0, 1000.0)
    # Voxels of the proposal grid: used where VOXEL_PITCH is not given.
    initial_cube_size: Voxels = (80, 80, 20)
    # Distance between proposal voxels, mm. Where given, the number of voxels follows the space.
    voxel_pitch: float | None = Field(None, gt=0)
    max_people_num: int = Field(10, ge=1)
    threshold: float = 0.1


class PictStructConfig(Section):
    """The grid around each person."""

    unused = _keys(
        "FIRST_NBINS PAIRWISE_FILE RECUR_NBINS RECUR_DEPTH LIMB_LENGTH_TOLERANCE DEBUG "
        "TEST_PAIRWISE SHOW_ORIIMG SHOW_CROPIMG SHOW_HEATIMG"
    )

    # Edge lengths, mm, and voxels.
    grid_size: Size3D = (2000.0, 2000.0, 2000.0)
    cube_size: Voxels = (64, 64, 64)


class LossConfig(Section):
    """Weights of the losses."""

    unused = _keys("USE_DIFFERENT_JOINTS_WEIGHT")

    # Joints that were not labelled do not count.
    use_target_weight: bool = True
    # Weight of a volumetric cross-entropy beside the L1 of joints, which is in mm; 0: the paper.
    # With 15 the pose net learns much faster in its first hours.
    cross_entropy: float = Field(0.0, ge=0)


class TrainConfig(Section):
    """Optimization."""

    unused = _keys("MOMENTUM NESTEROV GAMMA1 GAMMA2 LR_FACTOR LR_STEP WD")

    optimizer: Literal["adam"] = "adam"
    lr: float = Field(1e-4, gt=0)
    # "cosine": the learning rate falls to zero by END_EPOCH; the paper's stays as it is.
    lr_decay: Literal["none", "cosine"] = "none"
    begin_epoch: int = Field(0, ge=0)
    end_epoch: int = Field(10, ge=0)
    # Go on from the output folder's checkpoint, where there is one.
    resume: bool = False
    # Frames a process (a GPU) and a backward pass; an optimizer step takes ACCUMULATION of those.
    batch_size: int = Field(1, ge=1)
    accumulation: int = Field(1, ge=1)
    shuffle: bool = True
    seed: int = Field(0, ge=0)
    # Also train the 2D backbone; by default it is frozen and in eval mode.
    backbone: bool = False
    # bfloat16 is mixed precision: the networks compute in it; weights, projections, losses do not.
    # auto: bfloat16 where the hardware multiplies it natively.
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    clip_grad_norm: float | None = Field(None, gt=0)


class TestConfig(Section):
    """Evaluation."""

    unused = _keys(
        "STATE FLIP_TEST POST_PROCESS SHIFT_HEATMAP USE_GT_BBOX IMAGE_THRE NMS_THRE OKS_THRE "
        "IN_VIS_THRE BBOX_FILE BBOX_THRE MATCH_IOU_THRE DETECTOR DETECTOR_DIR HEATMAP_LOCATION_FILE"
    )

    # In the output folder, where --checkpoint does not name another.
    model_file: str = "model_best.pth.tar"
    batch_size: int = Field(1, ge=1)
    # Match a prediction to one person at most, instead of the original's rule.
    one_to_one: bool = False


class DebugConfig(Section):
    """Debug pictures, every PRINT_FREQ batches."""

    # The master switch; alone it draws proposals and 3D poses.
    debug: bool = True
    # Poses projected into the views.
    save_batch_images_gt: bool = False
    save_batch_images_pred: bool = False
    # Heatmaps of each view.
    save_heatmaps_gt: bool = True
    save_heatmaps_pred: bool = True


class Config(Section):
    """One experiment."""

    unused = _keys("MODEL_EXTRA")

    model: Literal["multi_person_posenet"] = "multi_person_posenet"
    # "pose_resnet", or empty where heatmaps come from outside.
    backbone_model: str = ""
    output_dir: str = "output"
    log_dir: str = "log"
    data_dir: str = ""
    # Which GPUs: process n of torchrun takes the n-th. Empty: the CPU.
    gpus: str = "0"
    # Processes that load data, beside each training process.
    workers: int = Field(4, ge=0)
    print_freq: int = Field(100, ge=1)

    cudnn: CudnnConfig = CudnnConfig()
    dataset: DatasetConfig = DatasetConfig()
    synthetic: SyntheticConfig = SyntheticConfig()
    network: NetworkConfig = NetworkConfig()
    pose_resnet: PoseResNetConfig = PoseResNetConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    test: TestConfig = TestConfig()
    debug: DebugConfig = DebugConfig()
    pict_struct: PictStructConfig = PictStructConfig()
    multi_person: MultiPersonConfig = MultiPersonConfig()

    @property
    def joint_set_name(self) -> str:
        """Name of the joint set, from DATASET.JOINT_SET or the number of joints.

        Raises:
            InputError: when neither tells.
        """
        by_number = {15: "panoptic15", 17: "coco17"}
        name = self.dataset.joint_set or by_number.get(self.network.num_joints)
        if name is None:
            raise InputError(
                f"NETWORK.NUM_JOINTS is {self.network.num_joints}, for which no joint set is "
                "known: expected 15 (panoptic15), 17 (coco17), or DATASET.JOINT_SET"
            )
        return name

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionary with the YAML's upper-case keys."""
        return self.model_dump(mode="json", by_alias=True)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read an experiment's YAML and apply overrides such as "TRAIN.LR=1e-4".

    Raises:
        InputError: naming the file and the key, for a missing or broken file, an unknown key (with
            the nearest known one) or a value of the wrong type.
    """
    try:
        data = load_yaml(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected a YAML file") from None
    except ValueError as error:
        raise InputError(f"{path}: is not valid YAML ({error})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a mapping of configuration keys")
    for override in overrides:
        _apply_override(data, override)
    return config_from_dict(data, str(path))


def config_from_dict(data: dict[str, Any], source: str) -> Config:
    """A Config from nested upper-case keys; `source` names their origin in errors.

    Raises:
        InputError: naming the source and the key.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{source}: {_first_problem(error)}") from None


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"override '{override}': expected KEY=VALUE, such as TRAIN.LR=1e-4")
    *sections, leaf = key.strip().upper().split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise InputError(f"override '{override}': {section} is a value, expected a section")
    try:
        data[leaf] = _parse_value(text)
    except ValueError as error:
        raise InputError(f"override '{override}': {error}") from None


def _parse_value(text: str) -> Any:
    if not text:
        return ""
    value = load_yaml(text)
    # YAML 1.1 reads 1e-4 as a string.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"key '{place}' is unknown{_suggestion(first['loc'])}"
    return f"key '{place}': {first['msg'].lower()}, got {reprlib.repr(first['input'])}"


def _suggestion(location: tuple) -> str:
    section: type[BaseModel] = Config
    for part in location[:-1]:
        inner = section.model_fields[part.lower()].annotation
        # Only sections hold keys.
        assert isinstance(inner, type) and issubclass(inner, BaseModel)
        section = inner
    known = [name.upper() for name in section.model_fields]
    nearest = difflib.get_close_matches(str(location[-1]).upper(), known, n=1)
    return f", expected {nearest[0]}?" if nearest else f", expected one of {', '.join(known)}"
