"""Python environments of their own: made by pip once from a pinned list, made again when the list changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from deploy.embedded import cache
from deploy.embedded.commands import run_lines
from deploy.embedded.errors import StackError
from deploy.embedded.progress import Report, Step
from inference.deadline import Deadline

# The largest (Triton, 150 MB of downloads) takes 30 s here; a line of 1 MB/s needs three minutes.
CREATE_TIMEOUT_S = 900.0


class PipEnvironment:
    """A virtual environment of this Python in `folder`, holding exactly what the pinned files say."""

    def __init__(self, name: str, folder: Path, requirements: Path, constraints: Path | None = None) -> None:
        self.name = name
        self.folder = folder.absolute()
        self._pinned = [requirements] if constraints is None else [requirements, constraints]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def site(self) -> Path:
        """Its site-packages."""
        return self.folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

    @property
    def made_from(self) -> str:
        """What it depends on: the pinned lists, this Python, and its own place (scripts hold absolute paths)."""
        return cache.digest(*(path.read_bytes() for path in self._pinned), sys.version, str(self.folder))

    @property
    def ready(self) -> bool:
        """Whether it is whole and current."""
        return cache.whole(self.folder, self.made_from)

    def create(self, report: Report, finish: Callable[[], list[Path]]) -> bool:
        """Make it unless it is ready. `finish` adapts what was installed and names the files to check later.

        Whether it had to be made. Raises StackError that shows pip's last lines.
        """
        if self.ready:
            return False

        def make() -> list[Path]:
            with report.step(f"Python environment for {self.name} in {self.folder}") as step:
                self._install(step)
                return finish()

        return cache.fill(self.folder, self.made_from, make)

    def _install(self, step: Step) -> None:
        deadline = Deadline(CREATE_TIMEOUT_S)
        step.note("making the environment")
        try:
            run_lines([sys.executable, "-m", "venv", str(self.folder)], step.note, deadline)
        except StackError as error:
            raise StackError(f"{error}\nOn Debian and Ubuntu: apt install python3-venv") from error
        pip = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
        wanted = ["-r", str(self._pinned[0])]
        for path in self._pinned[1:]:
            wanted += ["-c", str(path)]
        run_lines([*pip, *wanted], lambda line: step.note(line.strip()), deadline)
