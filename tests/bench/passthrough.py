"""The yardstick: a raw aiokafka loop that copies records from one topic to another and does nothing else.

Prints one JSON line: records, seconds from the first record in hand to the last acknowledgement, CPU seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

FETCH = 1_000
"""Records a poll; the same bound as the workers' batches, so that both sides amortise alike."""
IDLE_S = 60.0


async def copy(bootstrap: str, source: str, sink: str, group: str, count: int) -> dict[str, float]:
    """Copy `count` records; await every acknowledgement before the clock stops."""
    consumer = AIOKafkaConsumer(
        source, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
    )
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    await consumer.start()
    await producer.start()
    done, started, cpu = 0, 0.0, 0.0
    try:
        while done < count:
            batches = await asyncio.wait_for(consumer.getmany(timeout_ms=1_000, max_records=FETCH), IDLE_S)
            if batches and not started:
                started, cpu = time.perf_counter(), time.process_time()
            pending = [
                await producer.send(sink, record.value, record.key, headers=list(record.headers))
                for records in batches.values()
                for record in records
            ]
            await asyncio.gather(*pending)
            done += len(pending)
            if pending:
                await consumer.commit()
        return {
            "records": done,
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
        }
    finally:
        await consumer.stop()
        await producer.stop()


def main() -> None:
    """Command line of the yardstick."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bootstrap", "source", "sink", "group"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, required=True)
    args = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(copy(args.bootstrap, args.source, args.sink, args.group, args.count))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
