"""Configurations: the original's files load unchanged, mistakes are named."""

import pytest
import yaml

from voxelpose_core.config import Config, load_config
from voxelpose_core.errors import InputError


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


def test_dictionary_round_trip():
    config = Config()
    assert Config.model_validate(config.to_dict()) == config
    assert "SPACE_SIZE" in config.to_dict()["MULTI_PERSON"]


def test_overrides(tmp_path):
    path = write(tmp_path, {"TRAIN": {"LR": 0.1}})
    config = load_config(path, ["TRAIN.LR=1e-4", "PICT_STRUCT.CUBE_SIZE=[32, 32, 32]", "GPUS=1"])
    assert config.train.lr == 1e-4
    assert config.pict_struct.cube_size == (32, 32, 32)


@pytest.mark.parametrize(
    "data, words",
    [
        ({"TRAIN": {"LRR": 1}}, ["TRAIN.LRR", "unknown", "LR?"]),
        ({"TRAINN": {}}, ["TRAINN", "TRAIN?"]),
        ({"TRAIN": {"LR": "fast"}}, ["TRAIN.LR", "'fast'"]),
        ({"PICT_STRUCT": {"CUBE_SIZE": [1, 2]}}, ["PICT_STRUCT.CUBE_SIZE"]),
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
