"""Start of the enrichment process: broker, topics, model server, then the worker; each is waited for and named."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from inference.client import Limits, Observer, Outcome, Scheduler, Transport
from inference.deadline import Deadline
from inference.errors import Misconfigured, Unavailable
from schemas.topics import (
    ENRICHMENT_REQUESTS,
    LISTING_ENRICHED,
    LISTING_FACTS,
    PRODUCT_CREATED,
    PRODUCT_DLQ,
    PRODUCT_SIDE,
    REVIEW_REQUESTED,
)
from stream.enrichment.worker import STAGE, Worker
from stream.errors import Fatal, NotReady
from stream.kafka.clients import group_id
from stream.kafka.fence import Fence
from stream.kafka.publish import Publisher
from stream.kafka.sources import check_counts, check_recorded
from stream.metrics import Meters
from stream.process import Process
from stream.ready import Stopped, until_ready
from stream.settings import Settings

TOPICS_USED = (
    PRODUCT_CREATED,
    ENRICHMENT_REQUESTS,
    LISTING_ENRICHED,
    LISTING_FACTS,
    REVIEW_REQUESTED,
    PRODUCT_DLQ,
    PRODUCT_SIDE,
)
MakeTransport = Callable[[Settings], Transport]


class MeteredModel(Observer):
    """Turns what the scheduler tells into metrics."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def called(self, outcome: Outcome, seconds: float, rows: int) -> None:
        """One call ended."""
        self._meters.counter("shangxin_inference_requests_total", outcome=outcome.value).inc()
        self._meters.histogram("shangxin_inference_seconds").observe(seconds)

    def dispatched(self, rows: int, waited_s: float) -> None:
        """A batch left the queue."""
        self._meters.histogram("shangxin_batch_size", stage="infer").observe(rows)
        self._meters.histogram("shangxin_stage_seconds", stage="queue").observe(waited_s)

    def pending(self, items: int, size: int) -> None:
        """Seen by shangxin_in_flight."""

    def breaker(self, is_open: bool) -> None:
        """The breaker opened or closed."""
        self._meters.gauge("shangxin_breaker_open").set(int(is_open))


def triton_transport(settings: Settings) -> Transport:
    """The transport to the configured Triton."""
    from inference.client.triton import TritonTransport

    return TritonTransport(settings.triton.url, settings.triton.model_version)


def make_scheduler(settings: Settings, meters: Meters, transport: Transport) -> Scheduler:
    """The client with the limits of the settings."""
    triton = settings.triton
    limits = Limits(
        max_batch=triton.max_batch,
        max_batch_wait_s=triton.max_batch_wait_ms / 1000,
        batches_in_flight=triton.batches_in_flight,
        max_pending=triton.max_pending,
        max_pending_bytes=triton.max_pending_bytes,
        request_timeout_s=triton.request_timeout_s,
    )
    return Scheduler(transport, limits, observer=MeteredModel(meters))


async def enrich(process: Process, make_transport: MakeTransport = triton_transport) -> None:
    """The main function of the process, for stream.process.run_worker."""
    settings = process.settings
    fence = Fence(settings.kafka)
    group = group_id(settings, STAGE)
    clean = False
    if settings.worker.stuck_after_s <= settings.triton.listing_budget_s:
        process.log.warning(
            "settings",
            reason="worker.stuck_after_s is not over triton.listing_budget_s: a slow model will look like stuck work",
        )
    try:
        counts = await until_ready(process, lambda: check_counts(settings, TOPICS_USED))
        await until_ready(process, lambda: check_recorded(settings, group, counts))
        scheduler = make_scheduler(settings, process.meters, make_transport(settings))
        try:
            await until_ready(process, lambda: _start_model(scheduler, settings))
            publisher = Publisher(settings, process.meters, fence, client_id=group)
            await until_ready(process, publisher.start)
            try:
                await Worker(process, publisher, fence, scheduler, settings.topics.product_partitions).run()
                clean = True
            finally:
                # After a failure nothing queued may still go out: this worker may have been replaced.
                await publisher.stop(flush=clean)
        finally:
            await scheduler.close(Deadline(0.0))
    except Stopped:
        return


async def _start_model(scheduler: Scheduler, settings: Settings) -> None:
    try:
        version = await scheduler.start()
    except Unavailable as error:
        where = settings.triton.url or "(triton.url is not set)"
        raise NotReady(f"the model server at {where} is not there yet: {error}") from error
    except Misconfigured as error:
        raise Fatal(f"the model server does not serve what was asked for: {error}") from error
    structlog.get_logger().info("model", version=version)
