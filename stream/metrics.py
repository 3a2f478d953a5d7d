"""The one list of metrics: name, type, labels, meaning, and what an operator does about it.

docs/metrics.md is generated from it. Labels are bounded sets; ids never are labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Kind(StrEnum):
    """Prometheus types used here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Metric:
    """One definition. remedy: what to do when it looks wrong."""

    name: str
    kind: Kind
    meaning: str
    remedy: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SECONDS


METRICS: tuple[Metric, ...] = (
    Metric(
        "shangxin_events_total",
        Kind.COUNTER,
        "Records read, by topic and outcome: applied, replayed, duplicate, superseded, parked, aside, forwarded.",
        "Compare with records_out: a gap is work in flight.",
        ("topic", "outcome"),
    ),
    Metric(
        "shangxin_parked_total",
        Kind.COUNTER,
        "Records sent to a dead-letter topic, by reason.",
        "Read the headers of the newest with `shangxin watch TOPIC.dlq`; fix the upstream that sends them.",
        ("topic", "reason"),
    ),
    Metric(
        "shangxin_unresolved_dropped_total",
        Kind.COUNTER,
        "Events that waited for the facts of their product and gave way to newer ones of the same user.",
        "Facts come too late for a user's hundred events: look at the lag and errors of enrichment.",
    ),
    Metric(
        "shangxin_records_out_total",
        Kind.COUNTER,
        "Records published and acknowledged, by topic.",
        "Falls to 0 with lag: see the log for a failing send.",
        ("topic",),
    ),
    Metric(
        "shangxin_stage_seconds",
        Kind.HISTOGRAM,
        "Time spent in a stage (decode, queue, infer, publish, total, batch).",
        "The stage that grows is the bottleneck.",
        ("stage",),
    ),
    Metric(
        "shangxin_batch_size",
        Kind.HISTOGRAM,
        "Events in a batch, by stage.",
        "Stays at 1 under load: batching is broken.",
        ("stage",),
        SIZES,
    ),
    Metric(
        "shangxin_lag_records",
        Kind.GAUGE,
        "Records of owned partitions that are not finished, by topic.",
        "Grows: add workers up to the partition count.",
        ("topic",),
    ),
    Metric(
        "shangxin_in_flight",
        Kind.GAUGE,
        "Events between decode and publish.",
        "At its bound for long: the model server is the limit.",
    ),
    Metric(
        "shangxin_ready",
        Kind.GAUGE,
        "1 when the worker takes work, 0 while starting, recovering or draining.",
        "0 for long: the log says what it waits for.",
    ),
    Metric(
        "shangxin_recovery_remaining_records",
        Kind.GAUGE,
        "Changelog or projection records still to be read before the worker is ready.",
        "Does not fall: broker trouble; see docs/known_issues.md.",
    ),
    Metric(
        "shangxin_loop_lag_seconds",
        Kind.GAUGE,
        "How late the event loop runs a timer.",
        "Above 1 s: heartbeats are at risk; lower batch sizes.",
    ),
    Metric(
        "shangxin_heartbeat_age_seconds",
        Kind.GAUGE,
        "Age of the last successful group heartbeat.",
        "Near session timeout minus delivery timeout: produces will be refused.",
    ),
    Metric(
        "shangxin_degraded_total",
        Kind.COUNTER,
        "Listings published degraded, by reason.",
        "Look at the model server: breaker, queue, deadline.",
        ("reason",),
    ),
    Metric(
        "shangxin_inference_requests_total",
        Kind.COUNTER,
        "Calls to the model server by outcome (ok, unavailable, overloaded, timed_out, rejected).",
        "Not ok: see the server's log.",
        ("outcome",),
    ),
    Metric(
        "shangxin_inference_seconds",
        Kind.HISTOGRAM,
        "Time of one call to the model server.",
        "Grows with batch size and text length.",
    ),
    Metric(
        "shangxin_breaker_open",
        Kind.GAUGE,
        "1 while the circuit breaker refuses calls.",
        "The server is failing; it is tried again by itself.",
    ),
    Metric(
        "shangxin_freshness_seconds",
        Kind.HISTOGRAM,
        "Publish time minus broker append time of the newest event applied, by output topic.",
        "Grows with lag.",
        ("topic",),
    ),
    Metric("shangxin_state_keys", Kind.GAUGE, "Keys held in state, by table.", "Plan memory by it.", ("table",)),
    Metric(
        "shangxin_watermark_ms",
        Kind.GAUGE,
        "Event-time watermark, ms since 1970 UTC, the smallest over owned partitions.",
        "Stands still: one source partition has no traffic.",
    ),
)

BY_NAME = {metric.name: metric for metric in METRICS}


class Meters:
    """The metrics of one process, made from the list; asking for one that is not listed raises KeyError."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._made: dict[str, Counter | Gauge | Histogram] = {m.name: self._make(m) for m in METRICS}

    def _make(self, metric: Metric) -> Counter | Gauge | Histogram:
        if metric.kind is Kind.COUNTER:
            return Counter(metric.name, metric.meaning, metric.labels, registry=self.registry)
        if metric.kind is Kind.GAUGE:
            return Gauge(metric.name, metric.meaning, metric.labels, registry=self.registry)
        return Histogram(metric.name, metric.meaning, metric.labels, registry=self.registry, buckets=metric.buckets)

    def counter(self, name: str, **labels: str) -> Counter:
        """A counter's child."""
        found = self._made[name]
        assert isinstance(found, Counter), f"{name} is no counter"
        return found.labels(**labels) if labels else found

    def gauge(self, name: str, **labels: str) -> Gauge:
        """A gauge's child."""
        found = self._made[name]
        assert isinstance(found, Gauge), f"{name} is no gauge"
        return found.labels(**labels) if labels else found

    def histogram(self, name: str, **labels: str) -> Histogram:
        """A histogram's child."""
        found = self._made[name]
        assert isinstance(found, Histogram), f"{name} is no histogram"
        return found.labels(**labels) if labels else found
