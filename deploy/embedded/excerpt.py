"""What of a server's log explains a failure: its complaints, then its last lines."""

from __future__ import annotations

import re
from pathlib import Path

# Triton marks errors with E and the date, log4j by word; both may quote an exception of the code they run.
COMPLAINT = re.compile(r"^E\d{4} |\b(ERROR|FATAL)\b|\b\w*(Error|Exception)\b|^error:|already in use")
# Triton prints its options as a table after the complaint that matters.
DECORATION = re.compile(r"^(\+-|\| |\s*$|\tat )")
COMPLAINTS = 10
LAST_LINES = 5
WIDTH = 400


def excerpt(log: Path) -> str:
    """At most COMPLAINTS lines that complain, then the last lines; each indented by two and cut at WIDTH."""
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if not DECORATION.match(line)]
    except FileNotFoundError:
        return "  (no log)"
    complaints = [number for number, line in enumerate(lines) if COMPLAINT.search(line)][-COMPLAINTS:]
    last = range(max(0, len(lines) - LAST_LINES), len(lines))
    shown = sorted({*complaints, *last})
    return "\n".join(f"  {lines[number][:WIDTH]}" for number in shown) or "  (empty)"
