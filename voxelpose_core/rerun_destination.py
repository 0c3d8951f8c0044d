"""Where the Rerun SDK sends what it is told: a file, a viewer that runs, or a window."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import sysconfig
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from voxelpose_core.errors import InputError

PORT = 9876
_CONNECT_S = 2.0
_FLUSH_S = 10.0


def check_available(instead: str = "") -> None:
    """InputError where rerun-sdk is not installed; `instead` says what does not need it."""
    if importlib.util.find_spec("rerun") is None:
        raise InputError(f"the Rerun viewer is not installed: pip install rerun-sdk{instead}")


class RerunDestination:
    """A recording of the Rerun SDK, and where it goes.

    Args:
        save: the .rrd file to write.
        connect: address of a viewer that runs: HOST, HOST:PORT or a rerun+http:// URL. Without `save` and
            `connect` a window is opened, or one that is open is used.
        memory: how much of the computer's memory a window that is opened may fill; it drops the oldest data
            then.

    Attributes:
        stream: the SDK's RecordingStream.

    Raises:
        InputError: rerun-sdk is missing, the file cannot be written, the viewer not be opened or reached.
    """

    def __init__(self, save: Path | str | None, connect: str | None, memory: str):
        check_available()
        import rerun

        self.stream: Any = rerun.RecordingStream("voxelpose")
        self._is_file, self._is_lost = save is not None, False
        if save is not None:
            self._where = str(save)
            self._save(save)
        elif connect is not None:
            self._where = _viewer_url(connect)
            self._connect()
        else:
            self._where = "the Rerun viewer"
            self._open_window(memory)

    def check(self) -> None:
        """InputError when the viewer, or the file, no longer takes what it is sent; said once."""
        if self._is_lost:
            return
        try:
            self.stream.flush(timeout_sec=_FLUSH_S)
        except (OSError, RuntimeError) as error:
            self._is_lost = True
            if self._is_file:
                raise InputError(f"{self._where}: cannot be written any more ({_line(error)})") from None
            raise InputError(f"{self._where}: was closed, or the connection to it is lost") from None

    def finish(self) -> None:
        """Wait until everything is written, and close the file.

        Raises:
            InputError: as `check`.
        """
        try:
            self.check()
        finally:
            self.stream.disconnect()

    def _save(self, path: Path | str) -> None:
        try:
            self.stream.save(str(path))
        except (OSError, RuntimeError) as error:
            raise InputError(f"{path}: cannot be written ({_line(error)})") from None

    def _connect(self) -> None:
        parts = urlsplit(self._where)
        # The SDK waits for a viewer in silence, whoever sends it data.
        if not _answers(parts.hostname or "", parts.port or PORT):
            raise InputError(
                f"{self._where}: no Rerun viewer answers, expected one that runs there (`rerun`), and a "
                "network that lets it be reached"
            )
        self.stream.connect_grpc(self._where)

    def _open_window(self, memory: str) -> None:
        is_open = _answers("127.0.0.1", PORT)
        if not (is_open or _has_screen()):
            raise InputError(
                "the Rerun viewer cannot be opened: there is no screen here (DISPLAY is not set), expected "
                "one, or a file to save to, which `rerun FILE.rrd` shows elsewhere"
            )
        # Where the interpreter is called by its path, that of its environment's scripts is not searched.
        os.environ["PATH"] = os.pathsep.join(filter(None, (os.environ.get("PATH"), _scripts())))
        try:
            self.stream.spawn(memory_limit=memory)
        except (OSError, RuntimeError) as error:
            raise InputError(f"the Rerun viewer cannot be opened ({_line(error)})") from None
        # It says nothing itself where its window does not open.
        if not _answers("127.0.0.1", PORT):
            raise InputError(
                f"the Rerun viewer cannot be opened: nothing answers on port {PORT}, see what `rerun` says"
            )


def _viewer_url(address: str) -> str:
    """The URL of the viewer at HOST, HOST:PORT, or a URL already; InputError for what is none."""
    url = address if "://" in address else f"rerun+http://{address}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in ("rerun", "rerun+http", "rerun+https"):
        raise InputError(
            f"viewer '{address}': expected HOST, HOST:PORT or rerun+http://HOST:PORT/proxy of a Rerun viewer"
        )
    if "://" in address and parts.path.strip("/"):
        return address
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{port or PORT}/proxy"


def _answers(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), _CONNECT_S):
            return True
    except OSError:
        return False


def _has_screen() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _scripts() -> str:
    return sysconfig.get_path("scripts") or ""


def _line(error: Exception) -> str:
    """An error of the SDK in one line; it explains itself in many."""
    return " ".join(str(error).split("\n\n")[0].split())
