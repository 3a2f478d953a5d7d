"""The truth about a recorded stack: what runs, what answers, what it takes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import psutil

from deploy.embedded.client import cluster_answers
from deploy.embedded.process import Child
from deploy.embedded.state import Record
from deploy.embedded.triton import server_answers

SERVING = "serving"
STARTING = "starting"
SILENT = "not answering"
DEAD = "dead"


@dataclass(frozen=True)
class PartStatus:
    """One part. state: serving, starting, not answering (its process lives) or dead. rss_mb: of it and its children."""

    name: str
    kind: str
    version: str
    state: str
    address: str
    pid: int | None = None
    rss_mb: float | None = None
    log: str = ""

    @property
    def ok(self) -> bool:
        """Whether it serves."""
        return self.state == SERVING


def part_statuses(record: Record) -> list[PartStatus]:
    """Ask each part of the record."""
    found: list[PartStatus] = []
    if (broker := record.broker) is not None:
        state = _state(broker.alive, cluster_answers(broker.bootstrap))
        found.append(_part("broker", broker.kind, broker.version, state, broker.bootstrap, broker.child))
    if (triton := record.triton) is not None:
        state = _state(triton.alive, server_answers(triton.grpc, triton.http))
        found.append(_part("triton", triton.kind, triton.version, state, triton.grpc, triton.child))
    found += [_part(child.name, "", "", STARTING if child.alive else DEAD, "", child) for child in record.starting]
    return found


def _state(alive: bool, answers: bool) -> str:
    if not alive:
        return DEAD
    return SERVING if answers else SILENT


def _part(name: str, kind: str, version: str, state: str, address: str, child: Child | None) -> PartStatus:
    if child is None:
        return PartStatus(name, kind, version, state, address)
    pid = child.process.pid if state != DEAD else None
    return PartStatus(name, kind, version, state, address, pid, _rss_mb(pid), child.log)


def _rss_mb(pid: int | None) -> float | None:
    if pid is None:
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        total = sum(part.memory_info().rss for part in (process, *process.children(recursive=True)))
        return round(total / 2**20, 1)
    return None
