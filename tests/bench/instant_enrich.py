"""The enrichment process on a model that answers at once, so that what is measured is the worker itself."""

from __future__ import annotations

import sys
from functools import partial

from stream.enrichment.run import enrich
from stream.process import run_worker
from stream.settings import load_settings
from tests.fake_model import FakeTransport


def main() -> int:
    """Run the worker; the exit status is the worker's."""
    return run_worker("enrichment", load_settings(), partial(enrich, make_transport=lambda _: FakeTransport()))


if __name__ == "__main__":
    sys.exit(main())
