"""Calibration files parsed: JSON, YAML (also OpenCV's dialect), TOML, XML, or a folder of YAML."""

from __future__ import annotations

import importlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from voxelpose_core.errors import InputError
from voxelpose_core.safe_yaml import PlainLoader, load_yaml_documents

# The largest real file known (Panoptic, 520 cameras) has 0.3 MB.
_MAX_BYTES = 4 * 2**20
_MAX_FILES = 100
_TOML_TABLE = re.compile(r"^[ \t]*\[[\w.\"' -]+\][ \t]*(#.*)?$", re.MULTILINE)
_TOML_VALUE = re.compile(r"^[ \t]*[\w\"'-]+[ \t]*=[ \t]*\S", re.MULTILINE)
_OPENCV_HEADER = re.compile(r"\A\s*%YAML:1\.0[^\n]*\n")


def read_document(path: str | Path) -> Any:
    """Parse a calibration.

    Args:
        path: a file, or a folder of YAML files (as ROS and EasyMocap keep calibrations).

    Returns:
        an XML root element, or the object of a JSON, YAML or TOML file; of a folder the objects of
        its files by name, without the ending, or an `UnreadableFile`.

    Raises:
        InputError: missing, unreadable, larger than 4 MiB, or in none of these languages.
    """
    path = Path(path)
    if not path.is_dir():
        return _read_file(path)
    files = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml") and p.is_file())
    if not 0 < len(files) <= _MAX_FILES:
        raise InputError(
            f"{path}: is a folder with {len(files)} YAML files, expected 1 to {_MAX_FILES}, "
            "or a calibration file"
        )
    return {file.stem: _read_file_of_folder(file) for file in files}


@dataclass(frozen=True)
class UnreadableFile:
    """A file of a folder that cannot be read, which matters only where it is needed."""

    error: InputError


def _read_file_of_folder(path: Path) -> Any:
    try:
        return _read_file(path)
    except InputError as error:
        return UnreadableFile(error)


def _read_file(path: Path) -> Any:
    try:
        return _parse(_read_text(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply, expected a calibration file") from None
    except (ValueError, ElementTree.ParseError) as error:
        detail = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be parsed ({detail})") from None


def _parse(text: str) -> Any:
    start = text.lstrip()[:1]
    if start == "<":
        return _parse_xml(text)
    # A TOML file may begin with a bracket, as JSON does.
    if _TOML_TABLE.search(text) and _TOML_VALUE.search(text):
        return _parse_toml(text)
    if start in ("{", "["):
        return json.loads(text, object_pairs_hook=_object_without_duplicates)
    # OpenCV's header is not what YAML asks for.
    return _only_document(load_yaml_documents(_OPENCV_HEADER.sub("", text), _Loader))


def _only_document(documents: list[Any]) -> Any:
    """The one that is not empty; of several messages, as `ros2 topic echo` prints them, the first."""
    present = [document for document in documents if document is not None]
    if len(present) > 1 and not all(isinstance(d, dict) and "header" in d for d in present):
        raise InputError(f"has {len(present)} YAML documents, expected one")
    return present[0] if present else None


def _parse_toml(text: str) -> dict[str, Any]:
    # Python's own since 3.11; before, no ROS distribution brings the package.
    try:
        tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError:
        raise InputError("is TOML, which Python 3.10 reads with tomli: pip install tomli") from None
    return tomllib.loads(text)


class _Loader(PlainLoader):
    """YAML of plain values, and OpenCV's matrices as their keys and values.

    Names of cameras may look like numbers: 01 and 00_01 stay what is written, where YAML 1.1 has
    octal numbers and separators.
    """


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int | str:
    text = loader.construct_scalar(node)
    digits = text.lstrip("+-")
    if "_" in text or (len(digits) > 1 and digits[0] == "0" and digits.isdecimal()):
        return text
    return loader.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)

for _tag in ("opencv-matrix", "opencv-nd-matrix"):
    _Loader.add_constructor(
        f"tag:yaml.org,2002:{_tag}", lambda loader, node: loader.construct_mapping(node, deep=True)
    )


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(f"has {size / 2**20:.0f} MiB, expected at most 4 MiB")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("does not exist, expected a calibration file") from None
    except UnicodeDecodeError:
        raise InputError("is not text, expected a calibration file") from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from None


def _parse_xml(text: str) -> ElementTree.Element:
    # A document type may define entities that grow without bound; no calibration needs one.
    if "<!DOCTYPE" in text:
        raise InputError("has a document type declaration, expected plain XML")
    # The declared encoding is that of the bytes, which are decoded already.
    return ElementTree.fromstring(text.encode("utf-8"), ElementTree.XMLParser(encoding="utf-8"))


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = {}
    for key, value in pairs:
        if key in result:
            raise InputError(f"key '{key}' appears twice")
        result[key] = value
    return result
