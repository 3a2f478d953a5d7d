"""The built versions beside the folder that Triton reads: kept whole, put in its place by name, and put back.

`models` is what is served; `models.versions/NAME` holds every version that was built there, its files hard-linked, so
that a version costs little disk; `models.versions/promoted.json` tells which were served, the newest last.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from inference.serving import layout
from inference.serving.manifest import Manifest, ManifestError, check_file, load_manifest

SUFFIX, PROMOTED_FILE = ".versions", "promoted.json"
KEPT = 10
"""Versions on the shelf, 10 to 45 MB each; the longest unbuilt goes, save those that a rollback would serve."""
REMEMBERED = 100
"""Promotions that the history holds; nobody rolls back further."""


@dataclass(frozen=True)
class Kept:
    """A version on the shelf. served: whether Triton's folder holds it."""

    version: str
    folder: Path
    served: bool


class Versions:
    """Of one repository folder."""

    def __init__(self, current: Path) -> None:
        self._current = current
        self._shelf = current.with_name(current.name + SUFFIX)

    def served(self) -> str | None:
        """The version in the repository folder; None where nothing is built."""
        try:
            return _manifest(self._current).version
        except ManifestError:
            return None

    def all(self) -> list[Kept]:
        """By name."""
        served = self.served()
        folders = sorted(p for p in self._shelf.iterdir() if p.is_dir()) if self._shelf.is_dir() else []
        return [Kept(folder.name, folder, folder.name == served) for folder in folders if not _hidden(folder)]

    def show(self, version: str) -> Manifest:
        """What a version is made of. Raises ManifestError for one that is not kept."""
        return _manifest(self.folder(version))

    def keep(self) -> None:
        """Put what is served on the shelf and note that it is served. A copy of the same name is replaced: it may
        have been built for another number of cores."""
        version = _manifest(self._current).version
        self._shelf.mkdir(exist_ok=True)
        _put(self._current, self._shelf / version)
        history = self._history()
        if not history or history[-1] != version:
            self._remember([*history, version])
        os.utime(self._shelf / version)
        spare = [kept.folder for kept in self.all() if kept.version not in (version, *history[-2:])]
        spare.sort(key=lambda folder: folder.stat().st_mtime)
        for folder in spare[: max(0, len(self.all()) - KEPT)]:
            shutil.rmtree(folder)

    def promote(self, version: str) -> None:
        """Serve this version, once every file of it is what its manifest says; a server that runs goes on with what it
        loaded until it is restarted. Raises ManifestError."""
        folder = self.folder(version)
        _check(folder)
        _put(folder, self._current)
        self._remember([*self._history(), version])

    def rollback(self) -> str:
        """Serve what was served before, and say what that is. Raises ManifestError where there is nothing before."""
        history, served = self._history(), self.served()
        while history and history[-1] == served:
            history.pop()
        if not history:
            raise ManifestError(f"{self._current}: nothing was served before {served}; `shangxin models list`")
        version = history[-1]
        folder = self.folder(version)
        _check(folder)
        _put(folder, self._current)
        self._remember(history)
        return version

    def folder(self, version: str) -> Path:
        """Where a kept version lies. Raises ManifestError for one that is not kept."""
        names = [kept.version for kept in self.all()]
        if version not in names:
            raise ManifestError(f"version: one of {', '.join(names) or 'none is kept'}; got {version!r}")
        return self._shelf / version

    def _history(self) -> list[str]:
        path = self._shelf / PROMOTED_FILE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise ManifestError(f"{path}: not a list of versions ({error}); delete it to begin anew") from None
        return [str(each) for each in found]

    def _remember(self, history: list[str]) -> None:
        work = self._shelf / f".{PROMOTED_FILE}.{os.getpid()}"
        work.write_text(json.dumps(history[-REMEMBERED:], indent=1) + "\n", encoding="utf-8")
        work.replace(self._shelf / PROMOTED_FILE)


def put_in_place(target: Path, made: Path) -> None:
    """A folder under another's name, the other gone: at no moment is there half of one."""
    old = made.with_name(made.name + "-old")
    if target.is_dir():
        target.rename(old)
    made.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _put(source: Path, target: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        made = work / "made"
        shutil.copytree(source, made, copy_function=link)
        put_in_place(target, made)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def link(source: str | Path, target: str | Path) -> None:
    """A second name for a file, where the file system can; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _manifest(folder: Path) -> Manifest:
    return load_manifest(folder / layout.LISTING / layout.ARTEFACTS)


def _check(folder: Path) -> None:
    manifest = layout.check_artefacts(folder / layout.LISTING / layout.ARTEFACTS)
    for file, digest in (layout.graph_files(manifest) | layout.code_files(manifest)).items():
        check_file(folder / file, digest)


def _hidden(folder: Path) -> bool:
    return folder.name.startswith(".")
