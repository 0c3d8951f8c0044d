"""The data set that a configuration names, opened and checked against its network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from voxelpose_core.config import Config
from voxelpose_core.datasets import DATASETS, open_dataset
from voxelpose_core.datasets.actors import ActorsDataset
from voxelpose_core.datasets.base import FrameDataset
from voxelpose_core.datasets.panoptic import CAMERAS, Panoptic
from voxelpose_core.datasets.synthetic import Synthetic
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig_check import report_findings
from voxelpose_core.geometry.space import Space
from voxelpose_core.skeletons import get_joint_set


def open_configured(config: Config, train: bool) -> FrameDataset:
    """The data set that a configuration trains on, or tests on.

    Raises:
        InputError: the data set cannot be opened, or cannot serve the network of the configuration.
    """
    settings = config.dataset
    name = settings.train_dataset if train else settings.test_dataset
    kind = DATASETS.get(name)
    root = Path(config.data_dir) / settings.root
    if kind is DATASETS["synthetic"]:
        if not config.synthetic.rig:
            raise InputError("SYNTHETIC.RIG is empty, data set 'synthetic' expects a calibration")
        root = Path(config.synthetic.rig)
    dataset = open_dataset(name, root, **(_options(config, train, kind) if kind else {}))
    _check_joints(config, dataset, train)
    _check_source(config, dataset, train)
    return dataset


def check_rigs(datasets: Iterable[FrameDataset], say: Callable[[str], object], strict: bool = False) -> None:
    """Say once what looks wrong with the rigs of data sets: `report_findings`.

    Raises:
        InputError: strict, and something looks wrong.
    """
    lines: dict[str, None] = {}
    for dataset in datasets:
        rig = getattr(dataset, "rig", None)
        for each in getattr(dataset, "rigs", {}).values() if rig is None else [rig]:
            report_findings(each, lambda line: lines.setdefault(line, None), strict)
    for line in lines:
        say(line)


def heatmap_source(config: Config, train: bool) -> str:
    """Where heatmaps come from: "image", "pred", "gt" or "simulated"."""
    settings = config.dataset
    source = settings.train_heatmap_src if train else settings.test_heatmap_src
    if source == "auto":
        return "image" if config.backbone_model else "pred"
    return source


def _options(config: Config, train: bool, kind: type[FrameDataset]) -> dict[str, Any]:
    """Options of `kind` from the configuration."""
    settings = config.dataset
    images = heatmap_source(config, train) == "image"
    subset = settings.train_subset if train else settings.test_subset
    if issubclass(kind, Panoptic):
        return {"subset": subset, "images": images, "cameras": CAMERAS[: settings.camera_num]}
    if issubclass(kind, ActorsDataset):
        return {
            "subset": subset,
            "images": images,
            "camera_count": settings.camera_num,
            "simulated": heatmap_source(config, train) == "simulated",
        }
    synthetic = config.synthetic
    return {
        "joint_set": get_joint_set(config.joint_set_name),
        "people": synthetic.people,
        "noise": synthetic.noise,
        "frames": synthetic.train_frames if train else synthetic.test_frames,
        "max_people": synthetic.max_people,
        "cameras": synthetic.cameras,
        "camera_count": settings.camera_num,
        "space": Space(config.multi_person.space_center, config.multi_person.space_size),
        # Never the same scenes in training and test.
        "seed": 2 * config.train.seed + (not train),
    }


def _check_joints(config: Config, dataset: FrameDataset, train: bool) -> None:
    joint_set = get_joint_set(config.joint_set_name)
    if train and dataset.joint_set != joint_set:
        raise InputError(
            f"data set '{dataset.name}' is labelled with {dataset.joint_set.name}, the network "
            f"learns {joint_set.name}: expected a TRAIN_DATASET with its joints"
        )
    root = config.dataset.rootidx
    root = (root,) if isinstance(root, int) else root
    if not train and root is not None and tuple(root) != dataset.joint_set.root:
        raise InputError(
            f"DATASET.ROOTIDX is {list(root)}, expected {list(dataset.joint_set.root)}, the root "
            f"of {dataset.joint_set.name}, or no ROOTIDX"
        )


def _check_source(config: Config, dataset: FrameDataset, train: bool) -> None:
    source = heatmap_source(config, train)
    key = f"DATASET.{'TRAIN' if train else 'TEST'}_HEATMAP_SRC"
    if source == "pred" and not dataset.has_keypoints:
        raise InputError(
            f"data set '{dataset.name}' has no 2D predictions here, expected a file of them, or "
            f"{key} image, gt or simulated"
        )
    if source == "simulated" and not isinstance(dataset, ActorsDataset):
        raise InputError(
            f"data set '{dataset.name}': detections are simulated for campus and shelf only, "
            f"expected another {key}"
        )
    if source == "image" and isinstance(dataset, Synthetic):
        raise InputError(f"data set '{dataset.name}' has no images, expected {key} pred")
    if source == "image" and not config.backbone_model:
        raise InputError(f"{key} is image, expected a BACKBONE_MODEL to see them")
    if source == "gt" and dataset.joint_set != get_joint_set(config.joint_set_name):
        raise InputError(
            f"{key} is gt, but '{dataset.name}' is labelled with {dataset.joint_set.name}, "
            f"expected {config.joint_set_name}"
        )
