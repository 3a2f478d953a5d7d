"""`shangxin enrich --file` on the fake model: good lines come out in order, bad ones are told with their reason."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from stream.enrichment.file import enrich_file
from stream.settings import Settings
from tests.fake_model import FakeTransport


def test_a_file_of_listings_comes_out_enriched_and_bad_lines_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        {"product_id": "p1", "title": "Blue cup"},
        {"product_id": "p2", "title": "Cup", "price": -1, "currency": "EUR"},
        {"product_id": "p3", "title": "[fault] cup"},
        *({"product_id": f"q{i}", "title": f"Cup {i}"} for i in range(100)),
    ]
    source, out, rejects = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "rejects.jsonl"
    source.write_text("\n".join(json.dumps(line) for line in lines) + "\n\nnot json\n")
    calls = tmp_path / "calls"
    status = enrich_file(Settings(), source, out, rejects, lambda _: FakeTransport(calls))
    assert status == 1
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [each["product_id"] for each in found] == ["p1", "p3", *(f"q{i}" for i in range(100))]
    assert [each["status"] for each in found[:3]] == ["enriched", "degraded", "enriched"]
    refused = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(each["line"], each["reason"], each["field"]) for each in refused] == [
        (2, "invalid-field", "$.price"),
        (105, "not-json", "$"),
    ]
    assert "-1" in refused[0]["value"]
    assert "line 2: $.price" in capsys.readouterr().err
    assert "Cup\n" not in calls.read_text()


def test_a_file_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert enrich_file(Settings(), tmp_path / "none", None, None, lambda _: FakeTransport()) == 2
    assert "No such file" in capsys.readouterr().err


class Closed(io.RawIOBase):
    """A pipe whose reader is gone."""

    def write(self, data: object) -> int:
        raise BrokenPipeError

    def writable(self) -> bool:
        return True


class Out:
    """A standard output over it."""

    buffer = Closed()


def test_a_reader_that_goes_away_is_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"product_id": "p1", "title": "Blue cup"}\n')
    monkeypatch.setattr("stream.enrichment.file.sys.stdout", Out())
    assert enrich_file(Settings(), source, None, None, lambda _: FakeTransport()) == 1
