"""Everything that is generated from the types and checked in: files, and the check that they have not drifted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from schemas import asyncapi, topicsdoc
from schemas.jsonschema import Schema, schema_files, schema_names
from schemas.topics import TOPICS

VERSION = "0.1"
"""Version of the schemas: what is frozen under schemas/released/VERSION."""
HERE = Path(__file__).parent
ROOT = HERE.parent
GENERATED = HERE / "generated"
RELEASED = HERE / "released"
ASYNCAPI_FILE = GENERATED / "asyncapi.json"
TOPICS_FILE = "topics.json"
DOCS_PAGE = ROOT / "docs" / "topics.md"


def manifest() -> Schema:
    """What a release promises of each topic beside its types: key, clean-up, event types, schema files."""
    return {
        topic.name: {
            "key": topic.key,
            "cleanup": "compact" if topic.compact else "delete",
            "types": [message.ce_type for message in topic.messages if message.ce_type],
            "schemas": [name for name, _ in schema_names(topic)],
        }
        for topic in TOPICS
    }


def released_files() -> dict[str, str]:
    """File name to text of what a release freezes: a schema for each type, and the manifest."""
    files = {f"{name}.json": _text(schema) for name, schema in schema_files().items()}
    return {**files, TOPICS_FILE: _text(manifest())}


def generated_files() -> dict[Path, str]:
    """Path to text of everything generated."""
    files = {GENERATED / name: text for name, text in released_files().items()}
    return {**files, ASYNCAPI_FILE: _text(asyncapi.document(VERSION)), DOCS_PAGE: topicsdoc.page()}


def generate() -> list[Path]:
    """Write what changed, remove what is no longer generated; the paths touched."""
    return [_write(path, text) for path, text in _drifted()]


def drift() -> list[Path]:
    """Files that differ from what the types say now."""
    return [path for path, _ in _drifted()]


def release(version: str, *, again: bool = False) -> Path:
    """Freeze the current schemas under schemas/released/VERSION.

    again: replace what is frozen there already, which only a version that nobody has may do.
    Raises FileExistsError without it.
    """
    folder = RELEASED / version
    if folder.exists() and not again:
        raise FileExistsError(f"{folder} is there already; a released version never changes")
    folder.mkdir(parents=True, exist_ok=True)
    files = released_files()
    for old in folder.glob("*.json"):
        if old.name not in files:
            old.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def _drifted() -> Iterator[tuple[Path, str | None]]:
    files = generated_files()
    for path, text in files.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            yield path, text
    for path in sorted(GENERATED.glob("*")):
        if path not in files:
            yield path, None


def _write(path: Path, text: str | None) -> Path:
    if text is None:
        path.unlink()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path


def _text(document: Schema) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
