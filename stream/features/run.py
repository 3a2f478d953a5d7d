"""The features worker: its application, its table, and its handler, put together."""

from __future__ import annotations

from schemas.topics import BEHAVIOUR_BY_PRODUCT, BEHAVIOUR_DLQ, ITEM_FEATURES, ITEM_FEATURES_STATE
from stream.batchpath.run import serve
from stream.batchpath.stage import build_stage
from stream.features.handler import FeaturesHandler
from stream.features.state import CODEC
from stream.kafka.sources import check_counts
from stream.process import Process
from stream.ready import Stopped, until_ready

STAGE = "features"
TOPICS_USED = (BEHAVIOUR_BY_PRODUCT, ITEM_FEATURES, ITEM_FEATURES_STATE, BEHAVIOUR_DLQ)


async def features(process: Process) -> None:
    """The main function of the process, for stream.process.run_worker."""
    settings = process.settings
    try:
        await until_ready(process, lambda: check_counts(settings, TOPICS_USED))
    except Stopped:
        return
    stage = build_stage(process, STAGE, BEHAVIOUR_BY_PRODUCT, ITEM_FEATURES_STATE, CODEC, settings.features.max_batch)
    stage.path.handler = FeaturesHandler(settings, process.meters, stage.path, stage.state)
    await serve(process, stage.app, stage.path)
