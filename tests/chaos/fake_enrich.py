"""The enrichment process with the fake model: `python -m tests.chaos.fake_enrich CALLS BACK`, settings as always."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from stream.enrichment.run import enrich
from stream.process import run_worker
from stream.settings import load_settings
from tests.fake_model import FakeTransport


def main() -> int:
    """Run the worker; the exit status is the worker's."""
    calls, back = Path(sys.argv[1]), Path(sys.argv[2])
    return run_worker(
        "enrichment", load_settings(), partial(enrich, make_transport=lambda _: FakeTransport(calls, back))
    )


if __name__ == "__main__":
    sys.exit(main())
