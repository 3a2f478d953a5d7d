"""The commands `models predict` and `models evaluate` on real rows: encoder, shipped heads, row formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from inference.contract import ListingInput
from inference.errors import Misconfigured, Rejected
from inference.model.names import Names, names_of
from inference.model.prompt import NAMES_A_PROMPT
from inference.model.text import compose
from inference.tasks.bundle import Findings, TaskBundle
from inference.tasks.weights import DEFAULT_WEIGHTS
from inference.taxonomy import load_attributes, load_taxonomy
from stream.cli.main import app
from tests.unit.encoder_fixture import CACHE, real_encoder

LISTING = {
    "title": "SEAPESCA Minnow Fishing Wobblers 7cm 9g Hard Baits ZB207",
    "description": "",
    "attributes": {"Brand Name": ["SEAPESCA"], "Weight": ["9g"]},
    "absent": ["Material"],
}
HARMFUL = {"text": "日本人都是坏人，程度不同罢了", "offensive": 1, "topic": "race"}
HARMLESS = {"text": "新款夏季连衣裙女", "offensive": 0, "topic": "race"}


def command(*words: str) -> Any:
    return CliRunner().invoke(app, ["models", *words, "--cache", str(CACHE), "--threads", "1"])


def predicted(tmp_path: Path, task: str, rows: list[Any], *more: str, name: str = "rows.jsonl") -> list[Any]:
    file, out = tmp_path / name, tmp_path / "out.jsonl"
    text = (json.dumps(row, ensure_ascii=False) if isinstance(row, dict) else row for row in rows)
    file.write_text("\n".join(text) + "\n", encoding="utf-8")
    done = command("predict", "--task", task, "--data", str(file), "--out", str(out), *more)
    if done.exception:
        raise done.exception
    answers = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [answer["row"] for answer in answers] == list(range(len(answers)))
    return [answer["prediction"] for answer in answers]


def test_attributes_answer_exactly_the_names_asked_with_the_listings_words(tmp_path: Path) -> None:
    asking = {**LISTING, "ask": ["Weight", "Lure Diving Depth"]}
    silent, asked = predicted(tmp_path, "attributes", [LISTING, asking])
    assert list(silent) == ["Brand Name", "Weight", "Material"]
    assert silent["Weight"] == ["9g"]
    assert list(asked) == ["Weight", "Lure Diving Depth"]
    for values in (*silent.values(), *asked.values()):
        assert all(value in LISTING["title"] for value in values)


def test_spans_are_triples_with_the_tags_of_the_data(tmp_path: Path) -> None:
    sentence = [f"{character}\tO" for character in "睡衣女冬天韩版连体情侣睡袍"]
    (spans,) = predicted(tmp_path, "spans", sentence, name="rows.bieos")
    assert [0, 2, "HC"] in spans
    assert all(0 <= start < end <= 13 and label in ("HC", "HP") for start, end, label in spans)


def test_category_is_a_label_of_the_file_or_a_node(tmp_path: Path) -> None:
    rows = [{"title": "adidas men black flip flops"}, {"title": "apple iphone 7 plus 32gb rose gold"}]
    labels = tmp_path / "labels.txt"
    labels.write_text("Flip Flops\nKurtas\nSmartphones and Tablets\n", encoding="utf-8")
    found = predicted(tmp_path, "category", rows, "--labels", str(labels))
    assert found == ["Flip Flops", "Smartphones and Tablets"]
    taxonomy = load_taxonomy()
    assert all(node in taxonomy for node in predicted(tmp_path, "category", rows))


def test_safety_is_the_probability_of_harmful(tmp_path: Path) -> None:
    harmful, harmless = predicted(tmp_path, "safety", [HARMFUL, HARMLESS])
    assert 0 <= harmless < 0.5 < harmful <= 1


def test_keywords_stand_in_the_listing(tmp_path: Path) -> None:
    words = predicted(tmp_path, "keywords", [LISTING, {"title": "史黛丝蛇纹手提包女士单肩包"}, {"title": ""}])
    assert words[2] == []
    assert all(word in LISTING["title"] for word in words[0])
    assert all(word in "史黛丝蛇纹手提包女士单肩包" for word in words[1])
    assert words[0]
    assert words[1]


def test_evaluate_gives_the_measure_with_its_interval(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in [HARMFUL, HARMLESS, {"text": "x"}]))
    found = json.loads(command("evaluate", "--task", "safety", "--data", str(file), "--json").stdout)
    assert found["left_out"] == 1
    main = found["measures"][0]
    assert (main["name"], main["score"], main["rows"]) == ("accuracy", 1.0, 2)
    measures = {each["name"]: each for each in found["measures"]}
    assert [measures[f"{name} of harmful"]["score"] for name in ("precision", "recall")] == [1.0, 1.0]
    assert measures["precision of harmful at 0.95 and more"]["rows"] <= 1


def test_keywords_are_measured_at_what_is_taken_of_them(tmp_path: Path) -> None:
    row = {
        "title": "Nike Pegasus 40 Running Shoes",
        "attributes": {"Brand": ["Nike"], "Product Type": ["Running Shoes"]},
    }
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row))
    found = json.loads(command("evaluate", "--task", "keywords", "--data", str(file), "--json").stdout)
    measures = {each["name"]: each for each in found["measures"]}
    assert (measures["recall@10"]["score"], measures["recall@10"]["rows"]) == (1.0, 1)
    half, sure = (measures[f"precision at {at} and more"] for at in (0.5, 0.9))
    assert half["rows"] >= sure["rows"]
    assert half["score"] > 0.0


@pytest.mark.parametrize(
    ("words", "error", "rule"),
    [
        (("evaluate", "--task", "safety", "--data", "{}/none.jsonl"), Misconfigured, "No such file"),
        (("evaluate", "--task", "attributes", "--data", "{}/bad.jsonl"), Rejected, "row 1: title"),
        (("evaluate", "--task", "safety", "--data", "{}/empty.jsonl"), Rejected, "at least one row"),
        (
            ("predict", "--task", "spans", "--data", "{}/bad.jsonl", "--out", "{}/o", "--weights", "{}/w"),
            Misconfigured,
            "--weights",
        ),
        (("fit", "--data", "{}/none"), Misconfigured, "SHANGXIN_DATA"),
    ],
)
def test_errors_say_what_is_wrong(tmp_path: Path, words: tuple[str, ...], error: type[Exception], rule: str) -> None:
    (tmp_path / "bad.jsonl").write_text("{}\n")
    (tmp_path / "empty.jsonl").write_text("")
    done = command(*(word.format(tmp_path) for word in words))
    assert isinstance(done.exception, error)
    assert rule in str(done.exception)
    assert not (tmp_path / "o").exists()


def test_an_unknown_task_is_wrong_usage(tmp_path: Path) -> None:
    done = command("evaluate", "--task", "clicks", "--data", str(tmp_path))
    assert done.exit_code == 2


@pytest.fixture(scope="module")
def bundle() -> TaskBundle:
    taxonomy = load_taxonomy()
    schema = load_attributes(taxonomy)
    names: dict[str, Names] = {}
    for language in ("en", "zh"):
        texts = [node.name(language) for node in taxonomy]
        encoded = dict(zip(texts, real_encoder().encode(texts), strict=True))
        names[f"node.{language}"] = names_of([node.id for node in taxonomy], texts, encoded)
    return TaskBundle.load(DEFAULT_WEIGHTS, taxonomy, schema, names)


def answered(bundle: TaskBundle, row: ListingInput, language: str) -> Findings:
    composed = compose(row.title, row.description, row.category_hint)
    (encoded,) = real_encoder().encode([composed.text])
    first = bundle.first(row, composed, encoded, language)
    asked = real_encoder().ask([composed.text] * len(first.prompts), first.prompts)
    readings = [bundle.read(composed.text, names, *each) for names, each in zip(first.prompts, asked, strict=True)]
    return bundle.second(composed, first, encoded, readings)


@pytest.mark.parametrize(
    ("row", "language"),
    [
        (ListingInput(title="Nike Men's Running Shoes Red", description="Mesh upper. Red and white."), "en"),
        (ListingInput(title="夏季新款连衣裙女红色雪纺", category_hint="女装"), "zh"),
        (ListingInput(title="👟", ask=["Brand", "Never Seen Before"]), "en"),
        (ListingInput(title="", description="red cotton shirt"), "en"),
    ],
)
def test_a_listing_is_answered_with_its_own_words(bundle: TaskBundle, row: ListingInput, language: str) -> None:
    found = answered(bundle, row, language)
    assert len(found.nodes) == 5
    assert [node.score for node in found.nodes] == sorted((node.score for node in found.nodes), reverse=True)
    assert 0 <= found.safe <= 1
    for span in (*found.attributes, *found.spans, *found.keywords):
        assert getattr(row, span.field)[span.start : span.end] == span.text
        assert span.field != "category_hint"
        assert 0 <= span.score <= 1
    if row.ask is not None:
        assert {span.label for span in found.attributes} <= set(row.ask)


def test_more_names_than_a_prompt_holds_are_asked_in_several(bundle: TaskBundle) -> None:
    row = ListingInput(title="Nike Men's Running Shoes Red", ask=[f"Name {at}" for at in range(60)] + ["Color"])
    composed = compose(row.title, row.description)
    first = bundle.first(row, composed, real_encoder().encode([composed.text])[0], "en")
    assert [len(names) <= NAMES_A_PROMPT for names in first.prompts] == [True, True, True]
    assert {name for names in first.prompts for name in names} == {*(row.ask or ()), "Brand", "Product Type", "Keyword"}
    found = answered(bundle, row, "en")
    assert {span.label for span in found.attributes} <= set(row.ask or ())


def test_the_taxonomy_places_plain_products(bundle: TaskBundle) -> None:
    shoes = answered(bundle, ListingInput(title="Nike Men's Running Shoes Red"), "en")
    assert shoes.nodes[0].path[0] == "Shoes"
    dress = answered(bundle, ListingInput(title="夏季新款连衣裙女红色雪纺"), "zh")
    assert dress.nodes[0].node.startswith("apparel")
    assert "红色" in {span.text for span in dress.attributes} or dress.keywords


def test_compare_says_what_the_second_is_better_by(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in [HARMFUL, HARMLESS]))
    folder = str(DEFAULT_WEIGHTS)
    done = command("compare", folder, folder, "--task", "safety", "--data", str(file))
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0].split() == ["accuracy", "+0.0000", "[+0.0000,", "+0.0000]", "n=2"]
