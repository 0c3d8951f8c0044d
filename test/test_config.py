"""Configurations: the original's files load unchanged, mistakes are named."""

from pathlib import Path

import pytest
import yaml

from voxelpose_core.config import Config, load_config
from voxelpose_core.errors import InputError

CONFIGS = Path(__file__).resolve().parents[1] / "config"
# The original's experiments; what is trained on synthetic people for Panoptic is ours.
OF_THE_PAPER = [p for p in sorted(CONFIGS.glob("[cps]*/prn*.yaml")) if "synthetic" not in p.stem]
# Every key that the original's files may hold (its lib/core/config.py), with values of its kind.
ALL_KEYS_OF_THE_ORIGINAL = """
OUTPUT_DIR: output
LOG_DIR: log
DATA_DIR: ''
BACKBONE_MODEL: pose_resnet
MODEL: multi_person_posenet
GPUS: 0,1
WORKERS: 8
PRINT_FREQ: 100
MODEL_EXTRA:
  PRETRAINED_LAYERS: ['*']
  FINAL_CONV_KERNEL: 1
  STEM_INPLANES: 64
  STAGE2: {NUM_MODULES: 1, NUM_BRANCHES: 2, BLOCK: BASIC, NUM_BLOCKS: [4, 4]}
  DECONV: {NUM_DECONVS: 1, CAT_OUTPUT: true}
CUDNN: {BENCHMARK: true, DETERMINISTIC: false, ENABLED: true}
NETWORK:
  PRETRAINED: models/pytorch/imagenet/resnet50-19c8e357.pth
  PRETRAINED_BACKBONE: ''
  NUM_JOINTS: 15
  INPUT_SIZE: 512
  HEATMAP_SIZE: 80
  IMAGE_SIZE: [960, 512]
  SIGMA: 3
  TARGET_TYPE: gaussian
  AGGRE: true
  USE_GT: false
  BETA: 100.0
POSE_RESNET:
  NUM_LAYERS: 50
  DECONV_WITH_BIAS: false
  NUM_DECONV_LAYERS: 3
  NUM_DECONV_FILTERS: [256, 256, 256]
  NUM_DECONV_KERNELS: [4, 4, 4]
  FINAL_CONV_KERNEL: 1
LOSS: {USE_TARGET_WEIGHT: true, USE_DIFFERENT_JOINTS_WEIGHT: false}
DATASET:
  ROOT: data/panoptic-toolbox/data/
  TRAIN_DATASET: panoptic
  TEST_DATASET: panoptic
  TRAIN_SUBSET: train
  TEST_SUBSET: validation
  ROOTIDX: 2
  DATA_FORMAT: jpg
  BBOX: 2000
  CROP: true
  COLOR_RGB: true
  FLIP: false
  DATA_AUGMENTATION: false
  CAMERA_NUM: 5
  SCALE_FACTOR: 0.35
  ROT_FACTOR: 45
TRAIN:
  LR_FACTOR: 0.1
  LR_STEP: [90, 110]
  LR: 0.0001
  OPTIMIZER: adam
  MOMENTUM: 0.9
  WD: 0.0001
  NESTEROV: false
  GAMMA1: 0.99
  GAMMA2: 0.0
  BEGIN_EPOCH: 0
  END_EPOCH: 10
  RESUME: true
  BATCH_SIZE: 2
  SHUFFLE: true
TEST:
  BATCH_SIZE: 4
  STATE: best
  FLIP_TEST: false
  POST_PROCESS: false
  SHIFT_HEATMAP: false
  USE_GT_BBOX: false
  IMAGE_THRE: 0.1
  NMS_THRE: 0.6
  OKS_THRE: 0.5
  IN_VIS_THRE: 0.0
  BBOX_FILE: ''
  BBOX_THRE: 1.0
  MATCH_IOU_THRE: 0.3
  DETECTOR: fpn_dcn
  DETECTOR_DIR: ''
  MODEL_FILE: model_best.pth.tar
  HEATMAP_LOCATION_FILE: predicted_heatmaps.h5
DEBUG:
  DEBUG: true
  SAVE_BATCH_IMAGES_GT: true
  SAVE_BATCH_IMAGES_PRED: true
  SAVE_HEATMAPS_GT: true
  SAVE_HEATMAPS_PRED: true
PICT_STRUCT:
  FIRST_NBINS: 16
  PAIRWISE_FILE: ''
  RECUR_NBINS: 2
  RECUR_DEPTH: 10
  LIMB_LENGTH_TOLERANCE: 150
  GRID_SIZE: [2000.0, 2000.0, 2000.0]
  CUBE_SIZE: [64, 64, 64]
  DEBUG: false
  TEST_PAIRWISE: false
  SHOW_ORIIMG: false
  SHOW_CROPIMG: false
  SHOW_HEATIMG: false
MULTI_PERSON:
  SPACE_SIZE: [8000.0, 8000.0, 2000.0]
  SPACE_CENTER: [0.0, -500.0, 800.0]
  INITIAL_CUBE_SIZE: [80, 80, 20]
  MAX_PEOPLE_NUM: 10
  THRESHOLD: 0.3
"""


def write(tmp_path, data):
    path = tmp_path / "experiment.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    return path


def test_upper_case_keys_of_the_original(tmp_path):
    path = write(
        tmp_path,
        {
            "MULTI_PERSON": {"SPACE_SIZE": [12000.0, 12000.0, 2000.0], "THRESHOLD": 0.1},
            "PICT_STRUCT": {"CUBE_SIZE": [32, 32, 32], "FIRST_NBINS": 16},
            "DATASET": {"ROOTIDX": [2, 3], "BBOX": 2000},
            "MODEL_EXTRA": {"STAGE2": {"NUM_MODULES": 1}},
            "NETWORK": {"NUM_JOINTS": 17},
        },
    )
    config = load_config(path)
    assert config.multi_person.space_size == (12000.0, 12000.0, 2000.0)
    assert config.pict_struct.cube_size == (32, 32, 32)
    assert config.dataset.rootidx == (2, 3)
    assert config.joint_set_name == "coco17"
    assert config.multi_person.initial_cube_size == (80, 80, 20)


def test_all_keys_of_the_original(tmp_path):
    config = load_config(write(tmp_path, ALL_KEYS_OF_THE_ORIGINAL))
    assert config.gpus == "0,1" and config.train.resume and config.test.batch_size == 4
    assert config.network.heatmap_size == (80, 80)
    assert config.multi_person.space_center == (0.0, -500.0, 800.0)
    # What is read comes back; what is accepted and unused is not kept.
    data = yaml.safe_load(ALL_KEYS_OF_THE_ORIGINAL)
    kept = config.to_dict()
    del data["POSE_RESNET"]["NUM_DECONV_LAYERS"]
    assert kept["POSE_RESNET"] == data["POSE_RESNET"]
    assert "MODEL_EXTRA" not in kept and "LR_STEP" not in kept["TRAIN"]


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("prn*.yaml")), ids=lambda p: p.stem)
def test_configurations_of_the_project(path):
    config = load_config(path)
    person, proposals = path.stem.split("_")[:2]
    assert config.pict_struct.cube_size == (int(person.removeprefix("prn")),) * 3
    cpn = tuple(int(n) for n in proposals.removeprefix("cpn").split("x"))
    assert config.multi_person.initial_cube_size == cpn
    assert config.dataset.test_dataset == path.parent.name
    has_backbone = path.parent.name == "panoptic" and path in OF_THE_PAPER
    assert (config.backbone_model == "pose_resnet") == has_backbone
    ratio = [a / b for a, b in zip(config.network.image_size, config.network.heatmap_size)]
    assert ratio == [4, 4]


def test_six_configurations_of_the_paper():
    assert len(OF_THE_PAPER) == 6


def test_dictionary_round_trip():
    config = Config()
    assert Config.model_validate(config.to_dict()) == config
    assert "SPACE_SIZE" in config.to_dict()["MULTI_PERSON"]


def test_overrides(tmp_path):
    path = write(tmp_path, {"TRAIN": {"LR": 0.1}})
    config = load_config(path, ["TRAIN.LR=1e-4", "PICT_STRUCT.CUBE_SIZE=[32, 32, 32]", "GPUS=1"])
    assert config.train.lr == 1e-4 and config.gpus == "1"
    assert load_config(path, ["GPUS=0,1"]).gpus == "0,1" and load_config(path, ["GPUS="]).gpus == ""
    assert config.pict_struct.cube_size == (32, 32, 32)


@pytest.mark.parametrize(
    "data, words",
    [
        ({"TRAIN": {"LRR": 1}}, ["TRAIN.LRR", "unknown", "LR?"]),
        ({"TRAINN": {}}, ["TRAINN", "TRAIN?"]),
        ({"TRAIN": {"LR": "fast"}}, ["TRAIN.LR", "'fast'"]),
        ({"PICT_STRUCT": {"CUBE_SIZE": [1, 2]}}, ["PICT_STRUCT.CUBE_SIZE"]),
        ({"SYNTHETIC": {"PEPLE": ""}}, ["SYNTHETIC.PEPLE", "PEOPLE?"]),
        ({"TRAIN": {"OPTIMIZER": "sgd"}}, ["TRAIN.OPTIMIZER", "'sgd'", "'adam'"]),
        ({"MODEL": "resnet"}, ["MODEL", "multi_person_posenet"]),
        ("- 1\n- 2\n", ["mapping"]),
        ("a: [1", ["YAML"]),
        ("!!python/object/apply:os.system ['true']", ["YAML"]),
    ],
)
def test_mistakes_name_file_and_key(tmp_path, data, words):
    path = write(tmp_path, data)
    with pytest.raises(InputError) as caught:
        load_config(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in [str(path), *words]:
        assert word in message


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="nowhere.yaml"):
        load_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("override", ["TRAIN.LR", "TRAIN.SPEED=1", "GPUS.X=1"])
def test_bad_overrides(tmp_path, override):
    path = write(tmp_path, {"GPUS": "0"})
    with pytest.raises(InputError):
        load_config(path, [override])


def test_unknown_number_of_joints():
    config = Config.model_validate({"NETWORK": {"NUM_JOINTS": 20}})
    with pytest.raises(InputError, match="NUM_JOINTS"):
        _ = config.joint_set_name
