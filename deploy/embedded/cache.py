"""Folders that are filled once: a marker written last says that one is whole and what it was made from."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from deploy.embedded.errors import StackError
from inference.deadline import Deadline

MARKER = "complete.json"
# Another process may be filling the same folder; the longest fill seen is under a minute, slow lines aside.
LOCK_WAIT_S = 600.0
LOCK_POLL_S = 0.2


class Marker(msgspec.Struct, frozen=True):
    """made_from: digest of what the content depends on. files: path inside the folder to size in bytes."""

    made_from: str
    files: dict[str, int]


def digest(*parts: bytes | str) -> str:
    """One short name for the parts."""
    joined = b"\0".join(part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(joined).hexdigest()[:16]


def whole(folder: Path, made_from: str) -> bool:
    """Whether the folder was filled to the end, from the same sources, and its marked files are still there."""
    try:
        marker = msgspec.json.decode((folder / MARKER).read_bytes(), type=Marker)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return False
    return marker.made_from == made_from and all(_size(folder / name) == size for name, size in marker.files.items())


def fill(folder: Path, made_from: str, make: Callable[[], list[Path]]) -> bool:
    """Fill the folder unless it is whole; what was there before is removed. Whether it had to be made.

    `make` fills it and returns the files whose presence and size are checked from then on. One process at a time.
    """
    if whole(folder, made_from):
        return False
    with _locked(folder.with_name(folder.name + ".lock")):
        if whole(folder, made_from):
            return False
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        files = {str(path.relative_to(folder)): path.stat().st_size for path in make()}
        partial = folder / (MARKER + ".partial")
        partial.write_bytes(msgspec.json.encode(Marker(made_from, files)))
        partial.replace(folder / MARKER)
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = Deadline(LOCK_WAIT_S)
    with path.open("w") as handle:
        while not try_lock(handle.fileno()):
            if deadline.passed:
                raise StackError(
                    f"{path} is held by another process for {LOCK_WAIT_S:.0f} s; see who with: fuser {path}"
                )
            time.sleep(LOCK_POLL_S)
        yield


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file if it is free. It is let go when the file is closed or the process ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
