"""How late the event loop runs a timer: when it is late, heartbeats are too."""

from __future__ import annotations

import asyncio

from stream.metrics import Meters

INTERVAL_S = 0.25
"""Four samples a heartbeat of one second."""


async def watch_loop(meters: Meters) -> None:
    """Export the lateness of a timer until cancelled."""
    gauge = meters.gauge("shangxin_loop_lag_seconds")
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + INTERVAL_S
        await asyncio.sleep(INTERVAL_S)
        gauge.set(max(0.0, loop.time() - due))
