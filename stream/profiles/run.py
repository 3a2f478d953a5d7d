"""The profiles worker: its application, its table, its projection and its handler, put together."""

from __future__ import annotations

import asyncio

from schemas.topics import (
    BEHAVIOUR_BY_PRODUCT,
    BEHAVIOUR_DLQ,
    BEHAVIOUR_SIDE,
    LISTING_FACTS,
    USER_BEHAVIOUR,
    USER_FEATURES,
    USER_PROFILE_STATE,
    USER_PROFILE_UPDATED,
)
from stream.batchpath.build import build_app
from stream.batchpath.path import BatchPath
from stream.batchpath.ready import until_ready
from stream.batchpath.run import serve
from stream.batchpath.state import KeyedState
from stream.batchpath.store import StateTable
from stream.kafka.sources import check_counts
from stream.process import Process
from stream.profiles.handler import ProfilesHandler
from stream.profiles.projection import Projection
from stream.profiles.state import UserState, decode_state, encode_state

STAGE = "profiles"
TOPICS_USED = (
    USER_BEHAVIOUR,
    LISTING_FACTS,
    USER_PROFILE_STATE,
    USER_PROFILE_UPDATED,
    USER_FEATURES,
    BEHAVIOUR_BY_PRODUCT,
    BEHAVIOUR_DLQ,
    BEHAVIOUR_SIDE,
)


async def profiles(process: Process) -> None:
    """The main function of the process, for stream.process.run_worker."""
    settings = process.settings
    if await until_ready(process, lambda: check_counts(settings, TOPICS_USED)) is None:
        return
    projection = Projection(settings, process.meters)
    try:
        process.health.not_ready("reading listing-facts")
        loading = asyncio.ensure_future(projection.load())
        stopping = asyncio.ensure_future(process.stopping.wait())
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if process.stopping.is_set():
            loading.cancel()
            return
        loading.result()
        await _run(process, projection)
    finally:
        await projection.close()


async def _run(process: Process, projection: Projection) -> None:
    settings, meters = process.settings, process.meters
    prefix = settings.kafka.topic_prefix
    path = BatchPath([USER_BEHAVIOUR.named(prefix)], settings.kafka, process.faults)
    app = build_app(settings, STAGE, path, settings.profiles.max_batch)
    table = StateTable(
        app,
        name=USER_PROFILE_STATE.named(prefix),
        partitions=settings.topics.user_partitions,
        state_dir=settings.worker.state_dir,
    )
    state: KeyedState[UserState] = KeyedState(table, path.sends, encode_state, decode_state)
    path.handler = ProfilesHandler(settings, meters, path, state, projection)
    path.sends.on_acknowledged = lambda topic, records: meters.counter("shangxin_records_out_total", topic=topic).inc(
        records
    )
    async with asyncio.TaskGroup() as group:
        following = group.create_task(projection.follow())
        await serve(process, app, path)
        following.cancel()
