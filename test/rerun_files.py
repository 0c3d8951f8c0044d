"""Files for the Rerun viewer, read back with rerun-sdk's reader."""

import importlib.util

import pytest

needs_rerun = pytest.mark.skipif(
    importlib.util.find_spec("rerun") is None, reason="rerun-sdk is not installed"
)


def rows_of(path):
    """What a file logs: entity -> rows of column -> value, in the order of logging; times are integers."""
    reader = pytest.importorskip("rerun.chunk", reason="this rerun-sdk reads no files").RrdReader(str(path))
    rows = {}
    for chunk in reader.stream():
        batch = chunk.to_record_batch()
        columns = {name: _values(batch.column(name)) for name in batch.schema.names}
        for index in range(batch.num_rows):
            row = {name: values[index] for name, values in columns.items() if values[index] is not None}
            rows.setdefault(chunk.entity_path, []).append(row)
    for of_entity in rows.values():
        of_entity.sort(key=lambda row: (row.get("log_time", 0), row.get("log_tick", 0)))
    return rows


def _values(column):
    kind = str(column.type)
    if kind.startswith(("timestamp", "duration")):
        return column.cast("int64").to_pylist()
    return column.to_pylist()
