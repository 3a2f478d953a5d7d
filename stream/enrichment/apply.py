"""One piece of work from verdict to acknowledgement: judge, ask the model, write facts, listing and the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog
from msgspec import Struct

from inference.client import Answer
from inference.contract import ListingFault, ListingInput
from inference.deadline import Deadline
from inference.errors import Misconfigured, Overloaded, Rejected, Retryable, TimedOut
from schemas.listing import EnrichedListing, EnrichmentRequest, RequestKind, Status
from schemas.product import RawListing, Withdrawal
from schemas.review import ReviewRequest
from schemas.topics import LISTING_ENRICHED
from stream.enrichment.assemble import degraded_from, enriched_from, model_input
from stream.enrichment.facts import facts_of, gone_facts
from stream.enrichment.intake import wall_ms
from stream.enrichment.outputs import Out, Outputs
from stream.enrichment.projection import Projection
from stream.enrichment.retry import next_request
from stream.enrichment.verdict import Known, Verdict, judge, known_after
from stream.enrichment.work import Work
from stream.errors import Fatal
from stream.faults import FaultPoint, Faults
from stream.kafka.publish import Publisher
from stream.metrics import Meters
from stream.settings import Settings


class Model(Protocol):
    """What answers a listing: inference.client.Scheduler."""

    async def answer(self, item: ListingInput, deadline: Deadline) -> Answer:
        """The answer within the deadline, or an InferenceError."""
        ...


class Failure(Struct, frozen=True):
    """Why the model did not answer. label: for the metric; again: whether another try may succeed."""

    label: str
    reason: str
    again: bool


class Plan(Struct, frozen=True):
    """What goes out. facts first and acknowledged, then the rest; None: only the rest (a postponed request)."""

    facts: Out | None
    rest: list[Out]
    after: Known | None


class Applier:
    """Applies work of one worker. `owned` says whether work still is this worker's to publish."""

    def __init__(
        self,
        settings: Settings,
        meters: Meters,
        faults: Faults,
        publisher: Publisher,
        projection: Projection,
        model: Model,
        owned: Callable[[Work], bool],
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self._settings = settings
        self._meters = meters
        self._faults = faults
        self._publisher = publisher
        self._projection = projection
        self._model = model
        self._owned = owned
        self._now_ms = now_ms
        self._enriched = LISTING_ENRICHED.named(settings.kafka.topic_prefix)
        self._outputs = Outputs(settings.kafka.topic_prefix)
        self._log = structlog.get_logger()

    async def apply(self, work: Work) -> Verdict | None:
        """Do all that follows from `work`; None when it was taken away meanwhile and must not count as done.

        Raises RecordError when what goes out is over a topic's limit (park the record), SendFailed,
        Fenced, Fatal.
        """
        self._faults.at(FaultPoint.AFTER_DECODE)
        known = self._projection.get(work.record.partition, work.product_id)
        verdict = judge(known, work)
        if verdict in (Verdict.APPLY, Verdict.REPLAY):
            plan = await self._plan(work, known)
            if not self._owned(work):
                return None
            await self._write(work, plan)
        return verdict if self._owned(work) else None

    async def _plan(self, work: Work, known: Known | None) -> Plan:
        after = known_after(known, work)
        if isinstance(work.listing, Withdrawal):
            now = self._now_ms()
            facts = self._outputs.facts(work, gone_facts(work.product_id, after), now)
            return Plan(facts, [self._outputs.withdrawn(work, now)], after)
        answer = await self._ask(work.listing)
        if isinstance(answer, Answer):
            return self._answered(work, work.listing, answer, after)
        return self._failed(work, work.listing, answer, after)

    async def _ask(self, listing: RawListing) -> Answer | Failure:
        deadline = Deadline(self._settings.triton.listing_budget_s)
        try:
            with self._meters.histogram("shangxin_stage_seconds", stage="infer").time():
                answer = await self._model.answer(model_input(listing), deadline)
        except Retryable as error:
            return Failure(_label(error), f"the model did not answer in time: {error}", again=True)
        except Rejected as error:
            return Failure("rejected", f"the model refused the listing: {error}", again=False)
        except Misconfigured as error:
            raise Fatal(f"the model server is not the one that was pinned: {error}") from error
        if isinstance(answer.answer, ListingFault):
            # Another try gives the same; the listing is good by the schema, so it goes out with what is known.
            return Failure("fault", f"the model cannot read the listing: {answer.answer.message}", again=False)
        return answer

    def _answered(self, work: Work, listing: RawListing, answer: Answer, after: Known) -> Plan:
        now = self._now_ms()
        enriched = enriched_from(work, listing, answer, self._settings.enrichment, now)
        rest = [self._outputs.enriched(work, enriched, now)]
        if enriched.status == Status.IN_REVIEW:
            rest.append(self._review(work, enriched, now))
        return Plan(self._outputs.facts(work, facts_of(enriched, answer, after), now), rest, after)

    def _review(self, work: Work, enriched: EnrichedListing, now: int) -> Out:
        request = ReviewRequest(
            product_id=work.product_id,
            revision=work.revision,
            reasons=enriched.reasons,
            listing=enriched,
            requested_at=now,
        )
        return self._outputs.review(work, request, now)

    def _failed(self, work: Work, listing: RawListing, failure: Failure, after: Known) -> Plan:
        now = self._now_ms()
        request = next_request(work, listing, now, self._settings.enrichment) if failure.again else None
        follow = [self._outputs.request(work, request, now)] if request is not None else []
        self._tell(work, failure, request)
        kind = work.request.kind if work.request is not None else None
        if kind is not None and (request is not None or kind != RequestKind.RETRY):
            # What stands is at least as good: a retry's listing is out as degraded already, and a backfill
            # or replay that fails must not take the enriched one's place.
            return Plan(None, follow, None)
        reason = failure.reason
        if failure.again and request is None:
            reason = f"{reason}; given up after {self._settings.enrichment.max_tries} tries"
        enriched = degraded_from(work, listing, reason, now)
        self._meters.counter("shangxin_degraded_total", reason=failure.label).inc()
        facts = self._outputs.facts(work, facts_of(enriched, None, after), now)
        return Plan(facts, [self._outputs.enriched(work, enriched, now), *follow], after)

    def _tell(self, work: Work, failure: Failure, request: EnrichmentRequest | None) -> None:
        self._log.warning(
            "not answered",
            reason=failure.reason,
            source=f"{work.record.topic}/{work.record.partition}@{work.record.offset}",
            next_try=request.tries if request is not None else None,
        )

    async def _write(self, work: Work, plan: Plan) -> None:
        # All sizes first: a record that will be parked must not have left facts behind.
        for out in [plan.facts, *plan.rest]:
            if out is not None:
                self._publisher.check(out.topic, out.key, out.value, out.headers)
        with self._meters.histogram("shangxin_stage_seconds", stage="publish").time():
            if plan.facts is not None:
                await self._send([plan.facts])
            self._faults.at(FaultPoint.AFTER_CHANGELOG)
            if not self._owned(work):
                return
            await self._send(plan.rest)
            self._faults.at(FaultPoint.AFTER_PUBLISH)
        if plan.after is not None:
            self._projection.put(work.record.partition, work.product_id, plan.after)
        self._measure(work)

    async def _send(self, outs: list[Out]) -> None:
        acks = [await self._publisher.send(o.topic, key=o.key, value=o.value, headers=o.headers) for o in outs]
        await asyncio.gather(*acks)

    def _measure(self, work: Work) -> None:
        now = self._now_ms()
        self._meters.histogram("shangxin_stage_seconds", stage="total").observe(max(0, now - work.received) / 1000)
        appended = getattr(work.record, "timestamp", 0)
        if work.request is None and appended > 0:
            seconds = max(0, now - appended) / 1000
            self._meters.histogram("shangxin_freshness_seconds", topic=self._enriched).observe(seconds)


def _label(error: Retryable) -> str:
    if isinstance(error, Overloaded):
        return "overloaded"
    return "timed_out" if isinstance(error, TimedOut) else "unavailable"
