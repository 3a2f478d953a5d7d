"""Attributes with their producers: the seller's values win, what the model saw otherwise is recorded beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import structs

from inference.contract import ListingResult, Span
from schemas.listing import Attribute, Check, Disagreement, Evidence, Keyword, Producer, ProducerKind
from schemas.product import RawListing
from stream.enrichment.names import plain

BRAND = "brand"
BRAND_NAMES = (BRAND, "品牌")
"""Names under which a schema asks for it; it goes out as BRAND, whatever the language."""
MODEL_NAME = "listing"


def model_producer(result: ListingResult) -> Producer:
    """Producer of the model's values."""
    return Producer(ProducerKind.MODEL, MODEL_NAME, result.versions["model"])


def seller_producer(listing: RawListing) -> Producer:
    """Producer of the seller's values, by the seller's id where it was given."""
    return Producer(ProducerKind.SELLER, listing.seller if isinstance(listing.seller, str) else "seller")


def evidence_of(span: Span) -> Evidence:
    """Where a span stands."""
    return Evidence(span.field, span.start, span.end)


def keywords(result: ListingResult) -> list[Keyword]:
    """Keywords as they go out."""
    producer = model_producer(result)
    return [
        Keyword(text=span.text, score=span.score, producer=producer, evidence=evidence_of(span))
        for span in result.keywords
    ]


def attributes(listing: RawListing, result: ListingResult | None) -> list[Attribute]:
    """Seller's attributes in their order, then the model's of other names by falling score.

    A model value of a name that the seller gave goes into `disagrees` of the seller's first value where it differs from
    all of them; each value of the seller's carries how it fares with the text. The brand is the attribute `brand`; a
    brand of null says that there is none, so none of the model's goes out.
    """
    spans = _by_name(result) if result is not None else {}
    given: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for name, value in given_values(listing):
        names.setdefault(plain(name), name)
        given.setdefault(plain(name), []).append(value)
    producer, checks = seller_producer(listing), _checks(result)
    found = [
        attribute
        for key, values in given.items()
        for attribute in _sellers(names[key], values, _said(result, spans.get(key, [])), producer, checks)
    ]
    if result is None:
        return found
    refused = {BRAND} if listing.brand is None else set()
    models = (s for key, each in spans.items() if key not in given and key not in refused for s in each)
    return found + _models(models, model_producer(result))


def given_values(listing: RawListing) -> Iterator[tuple[str, str]]:
    """(name, value) of what the seller says beside the text, the brand first."""
    if isinstance(listing.brand, str) and listing.brand.strip():
        yield BRAND, listing.brand
    for name, value in listing.attributes.items():
        for each in [value] if isinstance(value, str) else value:
            if each.strip() and not (plain(name) == BRAND and each == listing.brand):
                yield name, each


def _by_name(result: ListingResult) -> dict[str, list[Span]]:
    brands = sorted((s for s in result.spans if s.label == BRAND), key=lambda s: (-s.score, s.start))[:1]
    found: dict[str, list[Span]] = {}
    for each in [*result.attributes, *brands]:
        span = structs.replace(each, label=BRAND) if plain(each.label) in BRAND_NAMES else each
        same = found.setdefault(plain(span.label), [])
        if plain(span.text) not in {plain(other.text) for other in same}:
            same.append(span)
    return found


def _said(result: ListingResult | None, spans: list[Span]) -> list[Disagreement]:
    if result is None:
        return []
    producer = model_producer(result)
    return [Disagreement(value=span.text, score=span.score, producer=producer) for span in spans]


Checks = dict[tuple[str, str], Check]


def _checks(result: ListingResult | None) -> Checks:
    """By name and value, as they are compared."""
    found: Checks = {}
    if result is None:
        return found
    for each in result.claims:
        evidence = evidence_of(each.evidence) if each.evidence else None
        check = Check(verdict=each.verdict, score=each.score, producer=model_producer(result), evidence=evidence)
        found[plain(each.name), plain(each.value)] = check
    return found


def _sellers(
    name: str, values: list[str], model: list[Disagreement], producer: Producer, checks: Checks
) -> Iterator[Attribute]:
    said = {plain(value) for value in values}
    other = [each for each in model if plain(each.value) not in said]
    for number, value in enumerate(values):
        yield Attribute(
            name=name,
            value=value,
            score=1.0,
            producer=producer,
            disagrees=other if number == 0 else [],
            check=checks.get((plain(name), plain(value))),
        )


def _models(spans: Iterable[Span], producer: Producer) -> list[Attribute]:
    ordered = sorted(spans, key=lambda s: (-s.score, s.label, s.start))
    return [
        Attribute(name=s.label, value=s.text, score=s.score, producer=producer, evidence=evidence_of(s))
        for s in ordered
    ]
