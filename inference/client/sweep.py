"""What the model server does at each length of text, rows a call and calls at once: what batching is set by.

Closed loop: each caller sends its next call when the last one is answered, so callers times rows are in flight.
Settings are visited in a shuffled order in each of several rounds, so that a slow minute of the machine meets all.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from inference.client.transport import Transport
from inference.contract import ListingInput
from inference.errors import InferenceError

CALL_TIMEOUT_S = 20.0
"""The workers' own limit; a setting whose calls take longer is refused work, and counted so."""
SEED = 20261125

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Setting:
    """rows: listings a call. callers: calls in flight at once."""

    length: str
    rows: int
    callers: int


@dataclass
class Seen:
    """Of one setting, all rounds together. calls: seconds each. refused: calls that brought no answer."""

    calls: list[float] = field(default_factory=list)
    listings: int = 0
    refused: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Listings a second."""
        return self.listings / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Of the seconds a call took; 0 where none was answered."""
        if len(self.calls) < 2:
            return self.calls[0] if self.calls else 0.0
        return statistics.quantiles(self.calls, n=100, method="inclusive")[min(98, round(share * 100) - 1)]


async def sweep(
    transport: Transport,
    texts: Mapping[str, Sequence[ListingInput]],
    rows: Sequence[int],
    callers: Sequence[int],
    seconds: float,
    rounds: int,
    report: Report,
) -> dict[Setting, Seen]:
    """texts: listings of each length, by its name. seconds: of each setting and round. Raises InferenceError when the
    server does not serve at all."""
    await transport.version()
    settings = [Setting(length, each, many) for length in texts for each in rows for many in callers]
    found = {setting: Seen() for setting in settings}
    bodies = {length: [msgspec.json.encode(row) for row in given] for length, given in texts.items()}
    done, rng = 0, random.Random(SEED)
    for _ in range(rounds):
        for setting in rng.sample(settings, len(settings)):
            await _measure(transport, bodies[setting.length], setting, seconds, found[setting])
            done += 1
            report("sweep", done, rounds * len(settings))
    return found


async def _measure(transport: Transport, bodies: Sequence[bytes], setting: Setting, seconds: float, seen: Seen) -> None:
    begun = time.monotonic()

    async def caller(first: int) -> None:
        at = first
        while time.monotonic() - begun < seconds:
            batch = [bodies[(at + row) % len(bodies)] for row in range(setting.rows)]
            at += setting.rows
            sent = time.monotonic()
            try:
                answered = await transport.infer(batch, CALL_TIMEOUT_S)  # not within +=, which reads before it waits
                seen.listings += len(answered)
                seen.calls.append(time.monotonic() - sent)
            except InferenceError:
                seen.refused += 1
                await asyncio.sleep(0.05)  # a full queue is not asked again at once

    await asyncio.gather(*(caller(number * 7) for number in range(setting.callers)))
    seen.seconds += time.monotonic() - begun


def table(found: Mapping[Setting, Seen]) -> str:
    """Markdown, the fastest of each length in bold."""
    best = {
        length: max(s.rate for at, s in found.items() if at.length == length) for length in {s.length for s in found}
    }
    lines = [
        "| Text | Rows a call | Calls at once | Listings a second | p50 ms | p99 ms | Refused |",
        "|---|---|---|---|---|---|---|",
    ]
    for setting, seen in found.items():
        rate = f"{seen.rate:.0f}"
        rate = f"**{rate}**" if seen.rate == best[setting.length] else rate
        times = f"{1e3 * seen.percentile(0.5):.0f} | {1e3 * seen.percentile(0.99):.0f}"
        lines.append(f"| {setting.length} | {setting.rows} | {setting.callers} | {rate} | {times} | {seen.refused} |")
    return "\n".join(lines) + "\n"
