"""The contract of the schemas: every topic has schema, channel and words with units; what is checked in is current."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from typer.testing import CliRunner

from schemas import asyncapi
from schemas.codec import Codec
from schemas.deadletter import parked_headers
from schemas.errors import Reason, RecordError
from schemas.examples import VALUES
from schemas.fielddocs import docs_of
from schemas.generate import ASYNCAPI_FILE, DOCS_PAGE, GENERATED, ROOT, drift, generated_files, release
from schemas.jsonschema import document, schema_files, schema_names
from schemas.topics import TOPICS, Message, Topic
from stream.cli.main import app

UNITS = re.compile(
    r"\b(ms|milliseconds|score|0 to 1|major units|pieces|events|purchases|number|code points?|weight|"
    r"offset|partition|epoch|from 0|from 1|length)\b"
)
"""Words of which a number's description needs one: what one unit of it is."""
RUNNER = CliRunner()
WITH_VALUE = [(t, m) for t in TOPICS for m in t.messages if m.value is not None]


def _document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ASYNCAPI_FILE.read_text(encoding="utf-8"))
    return found


def test_nothing_generated_has_drifted() -> None:
    stale = [str(path.relative_to(ROOT)) for path in drift()]
    assert not stale, f"{stale} differ from the types: run `shangxin schemas generate`"


def test_drift_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr("schemas.generate.generated_files", lambda: {path: "new"})
    assert path in drift()


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_topic_has_schema_channel_and_page(topic: Topic) -> None:
    for name, _ in schema_names(topic):
        schema = json.loads((GENERATED / f"{name}.json").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator.check_schema(schema)
    channels = {c["address"]: c for c in _document()["channels"].values()}
    channel = channels[topic.name]
    assert set(channel["messages"]) == {m.name for m in topic.messages}
    assert channel["x-shangxin"]["key"] == topic.key
    cleanup = channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"]
    assert cleanup == ["compact" if topic.compact else "delete"]
    assert f"## {topic.name}\n" in DOCS_PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(("topic", "message"), WITH_VALUE, ids=lambda each: each.name)
def test_every_message_names_its_key_field(topic: Topic, message: Message) -> None:
    assert message.value is not None
    assert topic.key in {field.encode_name for field in msgspec.structs.fields(message.value)}


def test_every_type_and_field_says_what_it_is_and_every_number_its_unit() -> None:
    silent = []
    for name, schema in schema_files().items():
        for type_name, each in {schema["title"]: schema, **schema.get("$defs", {})}.items():
            assert each["description"], type_name
            fields = [(f["title"], f) for f in each.get("prefixItems", ())] or each["properties"].items()
            for field, rules in fields:
                said = rules.get("description", "").lower()
                kinds = {rules.get("type"), *(one.get("type") for one in rules.get("anyOf", ()))}
                numeric = bool(kinds & {"integer", "number"})
                if not said or (numeric and not UNITS.search(said)):
                    silent.append(f"{name}: {type_name}.{field}: {said!r}")
    assert not silent


def test_docstring_entries_name_fields_that_exist() -> None:
    """A renamed field would leave its words behind: each type's entries are a subset of its fields by construction,
    so what is asserted is that no documented type lost all of them."""
    for topic in TOPICS:
        for type_ in topic.types:
            assert docs_of(type_).fields, type_.__name__
            assert docs_of(type_).about, type_.__name__


@pytest.mark.parametrize(("topic", "message"), WITH_VALUE, ids=lambda each: each.name)
def test_examples_are_valid_by_the_json_schema(topic: Topic, message: Message) -> None:
    assert message.value is not None
    payload = asyncapi.example(message)["payload"]
    name = next(name for name, type_ in schema_names(topic) if type_ is message.value)
    jsonschema.Draft202012Validator(document(message.value, name)).validate(payload)
    assert Codec(message.value).decode(json.dumps(payload).encode()) == VALUES[message.name]


def test_asyncapi_examples_are_valid_by_their_own_headers_and_payload() -> None:
    """The AsyncAPI parser does not look at examples, so they are judged here, references resolved by the document."""
    document = _document()
    judged = 0
    for message in document["components"]["messages"].values():
        for example in message.get("examples", ()):
            jsonschema.Draft7Validator(message["headers"]).validate(example["headers"])
            whole = {**message["payload"], "components": document["components"]}
            jsonschema.Draft7Validator(whole).validate(example["payload"])
            judged += 1
    assert judged == sum(bool(m.ce_type) for t in TOPICS for m in t.messages)


def test_json_schema_and_decoder_agree_on_what_is_refused() -> None:
    """Each bad value is refused by both, so that an upstream that checks itself is not surprised."""
    codec = Codec(VALUES["ProductCreated"].__class__)
    schema = jsonschema.Draft202012Validator(schema_files()["product-created"])
    good = json.loads(codec.encode(VALUES["ProductCreated"]))
    bad: list[dict[str, Any]] = [
        {"title": ""},
        {"title": "x" * 1_025},
        {"price": -1},
        {"price": "1"},
        {"images": ["/etc/passwd"]},
        {"attributes": {"": "x"}},
        {"attributes": {"a": 1}},
        {"product_id": ""},
    ]
    assert schema.is_valid(good)
    for change in bad:
        changed = {**good, **change}
        assert not schema.is_valid(changed), change
        with pytest.raises(RecordError):
            codec.decode(json.dumps(changed).encode())


def test_parked_headers_are_those_of_the_asyncapi_document() -> None:
    error = RecordError(Reason.INVALID_FIELD, "$.price", -1, "from 0")
    found = {name for name, _ in parked_headers([], error, "product-created", 1, 2)}
    message = next(m for t in TOPICS if t.name == "product-created.dlq" for m in t.messages)
    assert found == set(asyncapi.headers_schema(message)["properties"])


def test_asyncapi_parser_finds_no_problem(tmp_path: Path) -> None:
    """Runs npm's @asyncapi/parser where node and the package are there (`npm install --no-save @asyncapi/parser`)."""
    node = shutil.which("node")
    if node is None or not (ROOT / "node_modules/@asyncapi/parser").exists():
        pytest.skip("node or node_modules/@asyncapi/parser is not there; 3.6.6 found no problem by hand")

    def problems(file: Path) -> str:
        script = Path(__file__).with_name("asyncapi_check.mjs")
        command = [node, str(script), str(file), str(ROOT)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert problems(ASYNCAPI_FILE) == ""
    broken = _document()
    broken["operations"]["receiveProductCreated"]["channel"]["$ref"] = "#/channels/nowhere"
    (tmp_path / "broken.json").write_text(json.dumps(broken), encoding="utf-8")
    assert "nowhere" in problems(tmp_path / "broken.json") or problems(tmp_path / "broken.json")


def test_a_release_is_frozen_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("schemas.generate.RELEASED", tmp_path)
    folder = release("9.9")
    (folder / "stale.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FileExistsError, match="never changes"):
        release("9.9")
    release("9.9", again=True)
    assert not (folder / "stale.json").exists()
    assert {path.name for path in folder.iterdir()} == {p.name for p in generated_files() if p.parent == GENERATED} - {
        ASYNCAPI_FILE.name
    }


def test_command_line_checks_and_shows() -> None:
    checked = RUNNER.invoke(app, ["schemas", "check"])
    assert checked.exit_code == 0, checked.output
    assert "0.1" in checked.output
    shown = RUNNER.invoke(app, ["schemas", "show", "user-behaviour"])
    assert json.loads(shown.output)["title"] == "BehaviourEvent"
    wrong = RUNNER.invoke(app, ["schemas", "show", "nope"])
    assert wrong.exit_code == 1
    assert "product-created" in wrong.output
    again = RUNNER.invoke(app, ["schemas", "release", "0.1"])
    assert again.exit_code == 1
    assert "never changes" in again.output
