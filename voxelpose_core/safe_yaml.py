"""YAML from anywhere: plain values only, and no more of them than a person would write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

# The largest real file known, a rig of 520 cameras, has 20 000.
MAX_VALUES = 50_000


class PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which builds no objects, with a bound on what a document holds.

    A value counts as often as aliases repeat it: a few lines of aliases of aliases hold billions
    of values once somebody walks through them.
    """

    def __init__(self, stream: str):
        super().__init__(stream)
        self._values = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        """Compose as PyYAML does, and count."""
        mark = self.peek_event().start_mark
        repeated = self.check_event(yaml.AliasEvent)
        before = self._values
        node = super().compose_node(parent, index)
        if not repeated:
            self._count(1, mark)
            self._sizes[id(node)] = self._values - before
        elif id(node) in self._sizes:
            self._count(self._sizes[id(node)], mark)
        else:
            raise yaml.composer.ComposerError(None, None, "a value contains itself", mark)
        return node

    def _count(self, values: int, mark: yaml.Mark) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise yaml.composer.ComposerError(
                None, None, f"more than {MAX_VALUES} values, aliases counted in full", mark
            )


def load_yaml(text: str, loader: type[PlainLoader] = PlainLoader) -> Any:
    """The plain values of a YAML document.

    Raises:
        ValueError: in one line, what is wrong and where, for anything that is not plain YAML, is
            nested too deeply or holds more than `MAX_VALUES` values.
    """
    return _in_one_line(lambda: yaml.load(text, Loader=loader))


def load_yaml_documents(text: str, loader: type[PlainLoader] = PlainLoader) -> list[Any]:
    """The plain values of each document of a YAML stream.

    Raises:
        ValueError: as of `load_yaml`; the bound is that of all documents together.
    """
    return _in_one_line(lambda: list(yaml.load_all(text, Loader=loader)))


def _in_one_line(load: Callable[[], Any]) -> Any:
    try:
        return load()
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
