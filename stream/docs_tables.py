"""Writes the tables of docs/ that are generated from code: metrics, settings, scores. A test fails when they drift.

`python -m stream.docs_tables --write` writes them, without the flag it only says what differs.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, SecretStr

from inference.tasks.bundle import TASKS
from inference.tasks.weights import DEFAULT_WEIGHTS
from stream.metrics import METRICS
from stream.settings import Settings

DOCS = Path(__file__).resolve().parent.parent / "docs"


def metrics_page() -> str:
    """docs/metrics.md: each metric with type, labels, meaning and remedy."""
    rows = [
        f"| `{m.name}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels) or '-'} | {m.meaning} | {m.remedy} |"
        for m in METRICS
    ]
    return _page(
        "Metrics",
        "Every worker serves them at `/metrics`. Written by `make generate` from `stream/metrics.py`.",
        "| Name | Type | Labels | Meaning | When it looks wrong |\n|---|---|---|---|---|",
        rows,
    )


def settings_page() -> str:
    """docs/settings.md: each setting with its environment name, default and meaning."""
    rows = [f"| `{name}` | `{default}` | {meaning} |" for name, default, meaning in _settings(Settings, "SHANGXIN_")]
    return _page(
        "Settings",
        "By environment, or in `shangxin.toml` under `[section]`. `shangxin config show` prints what is in force. "
        "Written by `make generate` from `stream/settings.py`.",
        "| Environment | Default | Meaning |\n|---|---|---|",
        rows,
    )


def scores_page() -> str:
    """docs/model_scores.md: every measure of the shipped heads, as their files hold them."""
    rows = [
        f"| {task}, {each['name']} | {each['score']:.3f} [{each['low']:.3f}, {each['high']:.3f}] | {each['rows']} |"
        for task in TASKS
        for each in json.loads((DEFAULT_WEIGHTS / f"{task}.json").read_text(encoding="utf-8"))["dev"]
    ]
    return _page(
        "Scores of the shipped models",
        "Development rows, with 95% bootstrap intervals over rows; what each measure means and how far it can be "
        "trusted: [the model card](model_card_v1.md). Written by `make generate` from `inference/weights`.",
        "| Measure | Score | Rows |\n|---|---|---|",
        rows,
    )


PAGES = {"metrics.md": metrics_page, "settings.md": settings_page, "model_scores.md": scores_page}


def _page(title: str, about: str, head: str, rows: list[str]) -> str:
    return f"# {title}\n\n{about}\n\n{head}\n" + "\n".join(rows) + "\n"


def _settings(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    about = _field_docs(model)
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from _settings(type(default), f"{prefix}{name.upper()}__")
            continue
        shown = "**********" if isinstance(default, SecretStr) else default
        yield f"{prefix}{name.upper()}", f"{shown}" or " ", about.get(name, "")


def _field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The string under each field, as the source has it."""
    body = ast.parse(inspect.getsource(model)).body[0]
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(after):
            text = ast.literal_eval(after.value)  # type: ignore[attr-defined]
            docs[field.target.id] = " ".join(str(text).split())
    return docs


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def drifted() -> list[str]:
    """Names of pages that are not what the code says."""
    return [name for name, page in PAGES.items() if not _same(DOCS / name, page())]


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text


def main() -> int:
    """Write or compare; the exit status is 1 when something differs and was not written."""
    stale = drifted()
    if "--write" in sys.argv[1:]:
        for name in stale:
            (DOCS / name).write_text(PAGES[name](), "utf-8")
            sys.stdout.write(f"wrote docs/{name}\n")
        return 0
    sys.stdout.writelines(f"docs/{name} is not what the code says; run: make generate\n" for name in stale)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
