"""`shangxin emit` and `shangxin watch` on the real broker, as a person uses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from schemas.deadletter import parked_headers
from schemas.errors import Reason, RecordError
from schemas.topics import PRODUCT_CREATED, PRODUCT_DLQ, USER_BEHAVIOUR
from stream.cli.main import app
from stream.errors import NotReady
from stream.kafka.admin import create_topics
from stream.kafka.publish import Publisher
from stream.settings import load_settings

pytestmark = [pytest.mark.broker, pytest.mark.timeout(90)]

NOW = 1_760_000_000_000
LISTING = {"product_id": "p1", "title": "保温杯 500ml", "price": 79.0, "currency": "CNY"}
ACTION = {"user_id": "u1", "action": "view", "event_time": NOW, "product_id": "p1"}


class Shell:
    """Runs commands against topics of this test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runner = CliRunner()

    def emit(self, lines: list[Any], *options: str) -> Result:
        file = self._folder / "rows.jsonl"
        text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        file.write_text("\n".join(text) + "\n")
        return self._runner.invoke(app, ["emit", str(file), *options])

    def pipe(self, text: str, *options: str) -> Result:
        return self._runner.invoke(app, ["emit", "-", *options], input=text)

    def watch(self, topic: str, count: int, *options: str) -> Result:
        result = self._runner.invoke(app, ["watch", topic, "--from-start", "--count", str(count), *options])
        assert result.exit_code == 0, result.output
        return result

    def documents(self, topic: str, count: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.watch(topic, count, "--json").stdout.splitlines()]


@pytest.fixture
def shell(kafka: str, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    monkeypatch.setenv("SHANGXIN_KAFKA__BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("SHANGXIN_KAFKA__TOPIC_PREFIX", unique("emit") + ".")
    asyncio.run(create_topics(load_settings(), (PRODUCT_CREATED, PRODUCT_DLQ, USER_BEHAVIOUR)))
    return Shell(tmp_path)


def test_rows_go_to_their_topics_and_are_shown_decoded(shell: Shell) -> None:
    result = shell.emit([LISTING, ACTION, "", {"value": {**LISTING, "price": 69.0}, "type": "product.updated"}])
    assert (result.exit_code, result.stderr) == (0, "sent 3, refused 0\n")
    created, updated = shell.documents("product-created", 2)
    assert (created["key"], created["value"], created["headers"]["ce_type"]) == ("p1", LISTING, "product.created")
    assert (updated["value"]["price"], updated["headers"]["ce_type"]) == (69.0, "product.updated")
    assert "保温杯 500ml  79 CNY" in shell.watch("product-created", 2).stdout
    assert "view  p1" in shell.watch("user-behaviour", 1).stdout


def test_a_bad_line_is_named_with_its_number_and_the_rest_is_sent(shell: Shell) -> None:
    result = shell.emit([LISTING, {**LISTING, "price": "9.90元"}, "not json", {**LISTING, "product_id": "p2"}])
    assert result.exit_code == 1
    wrong_price, no_json, summary = result.stderr.splitlines()
    assert wrong_price.startswith("line 2: invalid-field: $.price: ")
    assert wrong_price.endswith("got '9.90元'")
    assert no_json.startswith("line 3: missing-field: $.topic: ")
    assert summary == "sent 2, refused 2"
    assert sorted(d["key"] for d in shell.documents("product-created", 2)) == ["p1", "p2"]


def test_without_validation_even_what_is_no_json_is_sent(shell: Shell) -> None:
    result = shell.pipe('title=Mug\n{"product_id": 7}\n', "--no-validate", "--topic", "product-created")
    assert (result.exit_code, result.stderr) == (0, "sent 2, refused 0\n")
    values = [d["value"] for d in shell.documents("product-created", 2)]
    assert {"undecodable": "b'title=Mug'"} in values
    assert {"product_id": 7} in values


def test_a_record_over_the_topics_limit_is_refused_before_it_is_sent(shell: Shell) -> None:
    result = shell.emit([{**LISTING, "description": "x" * 1_100_000}, LISTING], "--no-validate")
    assert result.exit_code == 1
    assert "line 1: too-large: $: a record of " in result.stderr
    assert "product-created has at most 1,048,576 bytes with key and headers (max.message.bytes)" in result.stderr
    assert "sent 1, refused 1" in result.stderr


def test_a_dead_letter_is_shown_with_reason_field_value_and_rule(shell: Shell) -> None:
    async def park() -> None:
        settings = load_settings()
        error = RecordError(Reason.IMPLAUSIBLE_TIME, "ce_time", 7, "a time between 2000-01-01 and one day from now")
        publisher = Publisher(settings)
        await publisher.start()
        topic = PRODUCT_DLQ.named(settings.kafka.topic_prefix)
        headers = parked_headers([("ce_id", b"1")], error, "product-created", 3, 41)
        await publisher.publish(topic, key=b"p9", value=b"{}", headers=headers)
        await publisher.stop()

    asyncio.run(park())
    line = shell.watch("product-created.dlq", 1).stdout
    assert "p9 implausible-time  ce_time 7 must be: a time between 2000-01-01 and one day from now" in line
    assert "from product-created/3@41" in line


def test_watching_what_is_not_there_says_what_to_do(shell: Shell) -> None:
    result = CliRunner().invoke(app, ["watch", "orders"])
    assert result.exit_code == 2
    assert "no topic 'orders'; there are product-created," in " ".join(result.output.replace("│", " ").split())
    missing = CliRunner().invoke(app, ["watch", "item-features"])
    assert isinstance(missing.exception, NotReady)
    assert "shangxin topics create" in str(missing.exception)
