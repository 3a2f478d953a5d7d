"""The fence at the socket: a produce request that may be too old is refused as it goes out (rule 4)."""

from __future__ import annotations

from typing import Any

from aiokafka.errors import KafkaError, NodeNotReadyError
from aiokafka.protocol.produce import ProduceRequest

from stream.errors import Fenced
from stream.kafka.fence import Fence


class Refused(KafkaError):  # type: ignore[misc]
    """The fence closed the wire. Not retriable: aiokafka fails the batch instead of keeping it."""

    retriable = False


def gate(client: Any, fence: Fence) -> None:
    """Ask the fence as each produce request of an aiokafka client goes out: a batch may have waited in the queue."""
    unguarded = client.send

    async def send(node_id: int, request: Any, **options: Any) -> Any:
        if isinstance(request, ProduceRequest):
            # Connecting may take long: the fence is asked once nothing is left to wait for.
            if not await client.ready(node_id, **options):
                raise NodeNotReadyError(f"node {node_id}")
            try:
                fence.check()
            except Fenced as error:
                raise Refused(str(error)) from error
        return await unguarded(node_id, request, **options)

    client.send = send
