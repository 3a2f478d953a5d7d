"""The HTTP port of a worker: /metrics, /healthz (alive) and /readyz (takes work), with the reason in JSON."""

from __future__ import annotations

import json

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stream.metrics import Meters
from stream.settings import WorkerSettings

STARTING = "starting"


class Health:
    """State that the port shows. Not ready until `ready()` is called."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self.is_ready = False
        self.reason = STARTING
        self.failed = ""
        meters.gauge("shangxin_ready").set(0)

    def ready(self) -> None:
        """The worker takes work."""
        self._set(True, "")

    def not_ready(self, reason: str) -> None:
        """The worker waits; `reason` is for a person."""
        self._set(False, reason)

    def fail(self, reason: str) -> None:
        """The worker is about to end: unhealthy means exit, the port says why for the last time."""
        self.failed = reason
        self._set(False, reason)

    def _set(self, ready: bool, reason: str) -> None:
        self.is_ready, self.reason = ready, reason
        self._meters.gauge("shangxin_ready").set(int(ready))


class HealthServer:
    """Serves one Health on the configured port."""

    def __init__(self, health: Health, meters: Meters, settings: WorkerSettings) -> None:
        self._health = health
        self._meters = meters
        self._settings = settings
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; returns the port, also written to `port_file`."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.http_host, self._settings.http_port)
        await site.start()
        port = int(self._runner.addresses[0][1])
        if self._settings.port_file is not None:
            # Written whole, then moved: a reader that polls for the file never sees half a number.
            draft = self._settings.port_file.with_suffix(".tmp")
            draft.write_text(f"{port}\n")
            draft.replace(self._settings.port_file)
        return port

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        body = generate_latest(self._meters.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(not self._health.failed, "alive", self._health.failed)

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._health.is_ready, "ready", self._health.reason)


def _answer(good: bool, name: str, reason: str) -> web.Response:
    body = json.dumps({name: good, "reason": reason}, ensure_ascii=False)
    return web.Response(text=body, status=200 if good else 503, content_type="application/json")
