"""The model card of a built version, from what its folder holds: parts, data and licences, thresholds, scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inference.serving.layout import ARTEFACTS, HEADS, LISTING
from inference.serving.manifest import HEX, load_manifest
from inference.training.licences import DATA_SETS, sets_of

THRESHOLDS = {
    "first": "least probability of an attribute's best value",
    "more": "least probability of each further value",
    "least": "least probability of an answer",
    "stated": "probability of a value that the text states outright",
    "most": "answers at most",
}
DATA_COLUMNS = "Head", "Set", "Rows fitted on", "measured on", "left out as duplicates"
UNKNOWN = "not on record"


def card(models: Path) -> str:
    """Markdown. models: a repository folder, the served one or a kept one. Raises ManifestError, Misconfigured."""
    artefacts = models / LISTING / ARTEFACTS
    manifest = load_manifest(artefacts)
    metas = {
        task: json.loads((artefacts / HEADS / f"{task}.json").read_text(encoding="utf-8")) for task in manifest.heads
    }
    parts = {
        "backbone": f"{manifest.backbone} `{manifest.backbone_sha256[:HEX]}`",
        "encoder, reader": f"`{manifest.encoder[:HEX]}`, `{manifest.reader[:HEX]}`",
        "shared matrices": f"`{manifest.matrices[:HEX]}`",
        "tokenizer": f"`{manifest.tokenizer[:HEX]}`",
        "taxonomy, attribute schema": f"`{manifest.taxonomy}`, `{manifest.schema}`",
        "label map of the category head": f"`{metas['category'].get('label_map', UNKNOWN)}`",
        "embedding space": f"`{manifest.space}`",
        **{f"head {task}": f"`{head.npz[:HEX]}`" for task, head in manifest.heads.items()},
    }
    lines = [
        f"# Model card: {manifest.version}",
        "",
        "Enriches product listings in Chinese and English: proposals with scores, behind thresholds and a review.",
        "Not for judging people or for moderating what users write.",
        "",
        *_table(("Part", "Content"), parts.items()),
        "",
        "## Data",
        "",
        *_table((*DATA_COLUMNS, "Licence", "Commercial use", "Source"), _data(metas)),
        "",
        "## Thresholds",
        "",
        *_table(("Head", "Threshold", "Value", "Meaning"), _thresholds(metas)),
        "",
        "## Scores",
        "",
        "On development rows, with 95% bootstrap intervals; thresholds and temperatures were chosen on the same rows.",
        "",
        *_table(("Head", "Measure", "Score", "Interval", "Rows"), _scores(metas)),
    ]
    return "\n".join(lines) + "\n"


def _data(metas: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for task, meta in metas.items():
        for name, (train, dev, dropped) in sets_of(meta).items():
            known = DATA_SETS.get(name)
            stated = (
                (known.licence, "yes" if known.commercial else "no", known.source) if known else (UNKNOWN, "no", "")
            )
            yield task, name, str(train), str(dev), str(dropped), *stated


def _thresholds(metas: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for task, meta in metas.items():
        for name, meaning in THRESHOLDS.items():
            if name in meta:
                yield task, name, str(meta[name]), meaning


def _scores(metas: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for task, meta in metas.items():
        for each in meta.get("dev", ()):
            interval = f"[{each['low']:.3f}, {each['high']:.3f}]"
            yield task, each["name"], f"{each['score']:.3f}", interval, str(each["rows"])


def _table(head: tuple[str, ...], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"
