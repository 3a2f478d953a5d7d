"""The engine in this process: rows that cannot be answered fail alone, and batch mates change nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from inference.contract import EMBEDDING_DIM, Claim, ListingFault, ListingInput, ListingResult, Span
from inference.model.encoder import ONNX_FILE, OnnxSession
from inference.serving.engine import Answers, ListingEngine, LocalEngine
from inference.serving.layout import ARTEFACTS, ENCODER, LISTING, READER
from tests.unit.models_fixture import build_small

WORDS = [
    "nike",
    "running",
    "shoes",
    "red",
    "men's",
    "cotton",
    "连衣裙",
    "夏季",
    "手机壳",
    "防水",
    "jacket",
    "👟",
    "ＸＬ",
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small(tmp_path_factory.mktemp("models")).folder


@pytest.fixture(scope="module")
def engine(models: Path) -> LocalEngine:
    return LocalEngine.open(models, threads=1)


def results(answers: Answers) -> list[ListingResult]:
    found = [answer for answer, _ in answers]
    assert all(isinstance(each, ListingResult) for each in found), found
    return [each for each in found if isinstance(each, ListingResult)]


def random_listings(count: int, seed: int) -> list[ListingInput]:
    rng = random.Random(seed)

    def text(most: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))

    return [ListingInput(title=text(12), description=text(40) if rng.random() < 0.4 else "") for _ in range(count)]


def test_plain_listings_find_their_nodes(engine: LocalEngine) -> None:
    titles = ["red summer dress for women", "夏季女士连衣裙", "running shoes for men", "iPhone 手机壳"]
    found = results(engine.answer([ListingInput(title=title) for title in titles]))
    assert [each.nodes[0].node.split(".")[0] for each in found] == ["clothing", "clothing", "shoes", "phones"]
    assert found[1].nodes[0].path[0] == "服装"
    for each in found:
        assert each.nodes[0].ids[-1] == each.nodes[0].node
        assert len(each.nodes[0].ids) == len(each.nodes[0].path)
    assert all(each.versions["model"] == engine.manifest.version for each in found)
    assert all(set(each.versions) == {"model", "taxonomy", "schema", "space"} for each in found)


def test_rows_that_cannot_be_answered_fail_alone(engine: LocalEngine) -> None:
    rows = [
        ListingInput(title="red dress"),
        ListingInput(title=" \n"),
        ListingInput(title="bad \ud800 title"),
        ListingInput(title="red dress"),
    ]
    answers = engine.answer(rows)
    assert [type(answer) for answer, _ in answers] == [ListingResult, ListingFault, ListingFault, ListingResult]
    assert answers[0][0] == answers[3][0]
    faults = [answer.message for answer, _ in answers if isinstance(answer, ListingFault)]
    assert "must hold text" in faults[0]
    assert "surrogate" in faults[1]
    assert not answers[1][1].any()
    assert answers[1][1].shape == (EMBEDDING_DIM,)


def test_numbers_that_are_not_finite_are_a_fault_of_their_row(models: Path) -> None:
    engine = ListingEngine(models / LISTING / ARTEFACTS)
    session, reader = (OnnxSession(models / place / ONNX_FILE, 1) for place in (ENCODER, READER))
    work = engine.prepare([ListingInput(title="red dress"), ListingInput(title="blue dress")])
    (raw,) = session.run_all(work.batches)
    broken = raw.features.copy()
    broken[0, 3] = np.nan
    question = engine.ask(work, [replace(raw, features=broken)])
    first, second = engine.finish(question, reader.run_all(question.batches))
    assert isinstance(first[0], ListingFault)
    assert isinstance(second[0], ListingResult)


def test_alone_and_among_others_are_the_same(engine: LocalEngine) -> None:
    rows = random_listings(200, seed=7)
    together = engine.answer(rows)
    for row, (among, vector) in zip(rows, together, strict=True):
        ((alone, own),) = engine.answer([row])
        assert isinstance(alone, ListingResult)
        assert isinstance(among, ListingResult)
        assert_same(alone, among)
        assert np.abs(own - vector).max() < 1e-3


def assert_same(a: ListingResult, b: ListingResult) -> None:
    """Equal discrete values, scores within 1e-3 (rule 10)."""
    assert discrete(a) == discrete(b)
    for x, y in zip(scores(a), scores(b), strict=True):
        assert abs(x - y) < 1e-3


def scores(result: ListingResult) -> list[float]:
    spans = [*result.attributes, *result.spans, *result.keywords]
    return [result.safe, result.language_score, *(n.score for n in result.nodes), *(s.score for s in spans)]


def discrete(result: ListingResult) -> object:
    spans = [[(s.label, s.text, s.field, s.start, s.end) for s in part] for part in _parts(result)]
    return result.language, [n.node for n in result.nodes], spans, result.tokens, result.truncated


def _parts(result: ListingResult) -> tuple[list[Span], ...]:
    return result.attributes, result.spans, result.keywords


def test_evidence_is_the_text_of_the_field(engine: LocalEngine) -> None:
    rows = random_listings(60, seed=9)
    for row, result in zip(rows, results(engine.answer(rows)), strict=True):
        for span in (*result.attributes, *result.spans, *result.keywords):
            assert getattr(row, span.field)[span.start : span.end] == span.text
            assert span.text.strip() == span.text != ""


def test_long_descriptions_are_cut_and_say_so(engine: LocalEngine) -> None:
    long, short = results(
        engine.answer([ListingInput(title="red dress", description="cotton " * 2_000), ListingInput(title="red dress")])
    )
    assert (long.truncated, short.truncated) == (True, False)
    assert long.tokens == 256


def test_answers_survive_the_wire(engine: LocalEngine) -> None:
    for result in results(engine.answer(random_listings(20, seed=3))):
        assert msgspec.json.decode(msgspec.json.encode(result), type=ListingResult) == result


def test_names_asked_beyond_the_schema_change_nothing_for_the_others(engine: LocalEngine) -> None:
    plain = ListingInput(title="red cotton dress")
    asking = ListingInput(title="red cotton dress", ask=["Fabric weight", "颜色", "Neckline"])
    bad = ListingInput(title="red cotton dress", ask=["\udfff"])
    (first, _), (second, _), (third, _) = engine.answer([plain, asking, bad])
    assert isinstance(second, ListingResult)
    assert first == engine.answer([plain])[0][0]
    assert second == engine.answer([asking])[0][0]
    assert isinstance(third, ListingFault)
    assert "ask[0]" in third.message


def test_claims_are_compared_with_the_text(engine: LocalEngine) -> None:
    title, more = "Red cotton summer dress", "With pockets. Machine washable."
    claims = [Claim("Color", "red"), Claim("Color", "Blue"), Claim("Voltage", "220V"), Claim("Material", "Cotton")]
    ((result, _),) = engine.answer([ListingInput(title=title, description=more, claims=claims)])
    assert isinstance(result, ListingResult)
    assert [(each.name, each.value) for each in result.claims] == [(each.name, each.value) for each in claims]
    color, blue, voltage, material = result.claims
    assert [each.verdict for each in (color, material)] == ["entailed", "entailed"]
    assert color.evidence is not None
    assert (color.evidence.field, color.evidence.text) == ("title", "Red")
    assert [each.verdict for each in (blue, voltage)] != ["entailed", "entailed"]
    assert "Voltage" not in {span.label for span in result.attributes}, "a claim's name is not an attribute asked"
    ((plain, _),) = engine.answer([ListingInput(title=title, description=more)])
    assert isinstance(plain, ListingResult)
    assert plain.claims == []


def test_a_claim_with_half_a_character_is_a_fault(engine: LocalEngine) -> None:
    ((fault, _),) = engine.answer([ListingInput(title="cup", claims=[Claim("Color", "\ud800")])])
    assert isinstance(fault, ListingFault)
    assert "claims[0].value" in fault.message
