"""`shangxin enrich --file`: raw listings in, enriched listings out, as JSON lines, with the engine in this process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import msgspec

from inference.client import Answer, Scheduler, Transport
from inference.contract import ListingFault
from inference.deadline import Deadline
from inference.errors import Rejected
from schemas.codec import Codec
from schemas.errors import Reason, RecordError
from schemas.listing import EnrichedListing, Revision, SourceEvent
from schemas.product import ProductEventType, RawListing
from schemas.validate import check_listing
from stream.enrichment.assemble import degraded_from, enriched_from, model_input
from stream.enrichment.intake import wall_ms
from stream.enrichment.work import Work
from stream.settings import Settings

IN_FLIGHT = 64
"""Lines between reading and writing: two of the client's batches, so that one fills while one runs."""
LISTING_BUDGET_S = 300.0
"""The engine runs on this machine's cores, one batch at a time: IN_FLIGHT of the longest texts take under a minute."""

_listings = Codec(RawListing)
_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct, frozen=True):
    """One line of the file, numbered from 1."""

    number: int
    data: bytes


class Reject(msgspec.Struct, frozen=True):
    """A refused line, as it is written to --rejects."""

    line: int
    reason: str
    field: str
    value: str
    rule: str
    record: str


def enrich_file(
    settings: Settings,
    file: Path,
    out: Path | None,
    rejects: Path | None,
    make_transport: Callable[[Settings], Transport] | None = None,
) -> int:
    """Enrich every line; returns the exit status: 0 all enriched, 1 some refused or not written, 2 a file
    cannot be opened."""
    with ExitStack() as files:
        try:
            source = files.enter_context(_source(file))
            sink = files.enter_context(out.open("wb")) if out is not None else sys.stdout.buffer
            refused = files.enter_context(rejects.open("wb")) if rejects is not None else None
        except OSError as error:
            print(f"{error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201
            return 2
        make = make_transport or engine_transport
        try:
            counts = asyncio.run(_enrich(settings, _lines(source), sink, refused, make(settings)))
        except BrokenPipeError:
            return 1  # whoever read the output (`head`) has seen enough
    print(f"{counts.enriched} enriched, {counts.refused} refused", file=sys.stderr)  # noqa: T201
    return 1 if counts.refused else 0


def engine_transport(settings: Settings) -> Transport:
    """The engine of `inference.serving` behind the client's seam."""
    from inference.client.local import LocalTransport
    from inference.serving.engine import LocalEngine

    return LocalTransport(lambda: LocalEngine.open(settings.stack.models_dir))


class Counts(msgspec.Struct):
    """What became of the lines."""

    enriched: int = 0
    refused: int = 0


async def _enrich(
    settings: Settings, lines: Iterable[Line], sink: IO[bytes], refused: IO[bytes] | None, transport: Transport
) -> Counts:
    counts = Counts()
    scheduler = Scheduler(transport)
    try:
        await scheduler.start()
        async for line, outcome in _in_order(settings, scheduler, lines):
            if isinstance(outcome, RecordError):
                counts.refused += 1
                _refuse(line, outcome, refused)
            else:
                counts.enriched += 1
                sink.write(_encode(outcome) + b"\n")
                sink.flush()
    finally:
        await scheduler.close(Deadline(0.0))
    return counts


async def _in_order(
    settings: Settings, scheduler: Scheduler, lines: Iterable[Line]
) -> AsyncIterator[tuple[Line, EnrichedListing | RecordError]]:
    """Outcomes in the order of the lines, IN_FLIGHT of them worked on together."""
    waiting: list[tuple[Line, asyncio.Task[EnrichedListing | RecordError]]] = []
    for line in lines:
        waiting.append((line, asyncio.create_task(_one(settings, scheduler, line))))
        if len(waiting) >= IN_FLIGHT:
            first, task = waiting.pop(0)
            yield first, await task
    for line, task in waiting:
        yield line, await task


async def _one(settings: Settings, scheduler: Scheduler, line: Line) -> EnrichedListing | RecordError:
    try:
        listing = _listings.decode(line.data)
        check_listing(listing, listing.product_id.encode())
    except RecordError as error:
        return error
    work = _work(line, listing)
    try:
        answer = await scheduler.answer(model_input(listing), Deadline(LISTING_BUDGET_S))
    except Rejected as error:
        return RecordError(Reason.MODEL_REJECTED, "$", listing.title, str(error))
    return _assembled(settings, work, listing, answer)


def _assembled(settings: Settings, work: Work, listing: RawListing, answer: Answer) -> EnrichedListing:
    now = wall_ms()
    if isinstance(answer.answer, ListingFault):
        return degraded_from(work, listing, f"the model cannot read the listing: {answer.answer.message}", now)
    return enriched_from(work, listing, answer, settings.enrichment, now)


class _FileRecord(msgspec.Struct, frozen=True):
    """A line in the shape of a Kafka record: its number is the offset."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] = []


def _work(line: Line, listing: RawListing) -> Work:
    now = wall_ms()
    source = SourceEvent(
        id=f"line-{line.number}",
        type=ProductEventType.CREATED,
        source="file",
        topic="file",
        partition=0,
        offset=line.number,
        time=now,
    )
    record = _FileRecord("file", 0, line.number, listing.product_id.encode(), line.data)
    return Work(record, 0, listing.product_id, Revision(0, line.number), source, listing, now)


def _refuse(line: Line, error: RecordError, refused: IO[bytes] | None) -> None:
    print(f"line {line.number}: {error} [{error.reason.value}]", file=sys.stderr)  # noqa: T201
    if refused is not None:
        text = line.data.decode("utf-8", "backslashreplace")
        field = error.field.encode("utf-8", "backslashreplace").decode()
        refused.write(_encode(Reject(line.number, error.reason.value, field, error.value, error.rule, text)) + b"\n")


@contextmanager
def _source(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    with file.open("rb") as opened:
        yield opened


def _lines(source: IO[bytes]) -> Iterator[Line]:
    for number, data in enumerate(source, start=1):
        if data.strip():
            yield Line(number, data.strip())
