"""The broker's jars, copied once by Maven from the pinned pom into the cache folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from deploy.embedded import cache
from deploy.embedded.commands import run_lines
from deploy.embedded.errors import StackError, Unavailable
from deploy.embedded.progress import Report, Step
from inference.deadline import Deadline

POM = Path(__file__).parents[1] / "kafka" / "pom.xml"
# 44 MB: 7 s from a near mirror; a line of 1 MB/s needs a minute.
FETCH_TIMEOUT_S = 600.0
COPYING = re.compile(r"Copying (?:artifact '.*?' to )?.*?([\w.\-]+\.jar)")


class Jars:
    """The folder of jars for the version in the pom."""

    def __init__(self, cache_dir: Path, pom: Path = POM) -> None:
        self._pom = pom
        self.version = _version(pom)
        self.folder = cache_dir.absolute() / self.version

    @property
    def ready(self) -> bool:
        """Whether they are all there, whole, for this pom."""
        return cache.whole(self.folder, self._made_from)

    @property
    def classpath(self) -> str:
        """For `java -cp`."""
        return str(self.folder / "libs" / "*")

    def fetch(self, report: Report) -> bool:
        """Fetch them unless they are ready. Whether they had to be fetched. Raises Unavailable with Maven's reason."""
        return cache.fill(self.folder, self._made_from, lambda: self._run_maven(report))

    @property
    def _made_from(self) -> str:
        return cache.digest(self._pom.read_bytes())

    def _run_maven(self, report: Report) -> list[Path]:
        libs = self.folder / "libs"
        maven = shutil.which("mvn") or "mvn"
        command = [maven, "-B", "-f", str(self._pom), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={libs}", f"-DbuildDirectory={self.folder / 'target'}"]
        with report.step(f"Apache Kafka {self.version} through Maven into {libs}") as step:
            try:
                run_lines(command, lambda line: _note(step, line), Deadline(FETCH_TIMEOUT_S))
            except StackError as error:
                raise Unavailable(f"Maven could not fetch Apache Kafka {self.version}: {error}") from error
        jars = sorted(libs.glob("*.jar"))
        if not any(jar.name.startswith("kafka-server-") for jar in jars):
            raise Unavailable(f"Maven left no kafka-server jar in {libs}")
        return jars


def _note(step: Step, line: str) -> None:
    if match := COPYING.search(line):
        step.note(match[1], advance=1)
    elif "Downloaded from" in line:
        step.note(line.rpartition("/")[2].partition(" ")[0])


def _version(pom: Path) -> str:
    match = re.search(r"<kafka\.version>(.+?)</kafka\.version>", pom.read_text())
    if match is None:
        raise StackError(f"{pom}: no <kafka.version>")
    return match[1]
