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
from stream.batchpath.run import serve
from stream.batchpath.stage import build_stage
from stream.kafka.sources import check_counts
from stream.process import Process
from stream.profiles.handler import ProfilesHandler
from stream.profiles.projection import Projection
from stream.profiles.state import CODEC
from stream.ready import Stopped, until_ready

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
    try:
        await until_ready(process, lambda: check_counts(settings, TOPICS_USED))
    except Stopped:
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
    settings = process.settings
    stage = build_stage(process, STAGE, USER_BEHAVIOUR, USER_PROFILE_STATE, CODEC, settings.profiles.max_batch)
    stage.path.handler = ProfilesHandler(settings, process.meters, stage.path, stage.state, projection)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(projection.follow())
        await serve(process, stage.app, stage.path)
        following.cancel()
