"""The features worker: its application, its table, and its handler, put together."""

from __future__ import annotations

from schemas.topics import BEHAVIOUR_BY_PRODUCT, BEHAVIOUR_DLQ, ITEM_FEATURES, ITEM_FEATURES_STATE
from stream.batchpath.build import build_app
from stream.batchpath.path import BatchPath
from stream.batchpath.ready import until_ready
from stream.batchpath.run import serve
from stream.batchpath.state import KeyedState
from stream.batchpath.store import StateTable
from stream.features.handler import FeaturesHandler
from stream.features.state import ItemState, decode_state, encode_state
from stream.kafka.sources import check_counts
from stream.process import Process

STAGE = "features"
TOPICS_USED = (BEHAVIOUR_BY_PRODUCT, ITEM_FEATURES, ITEM_FEATURES_STATE, BEHAVIOUR_DLQ)


async def features(process: Process) -> None:
    """The main function of the process, for stream.process.run_worker."""
    settings = process.settings
    if await until_ready(process, lambda: check_counts(settings, TOPICS_USED)) is None:
        return
    prefix = settings.kafka.topic_prefix
    path = BatchPath([BEHAVIOUR_BY_PRODUCT.named(prefix)], settings.kafka, process.faults)
    app = build_app(settings, STAGE, path, settings.features.max_batch)
    table = StateTable(
        app,
        name=ITEM_FEATURES_STATE.named(prefix),
        partitions=settings.topics.product_partitions,
        state_dir=settings.worker.state_dir,
    )
    state: KeyedState[ItemState] = KeyedState(table, path.sends, encode_state, decode_state)
    path.handler = FeaturesHandler(settings, process.meters, path, state)
    records_out = process.meters
    path.sends.on_acknowledged = lambda topic, records: records_out.counter(
        "shangxin_records_out_total", topic=topic
    ).inc(records)
    await serve(process, app, path)
