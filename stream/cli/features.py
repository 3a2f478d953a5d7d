"""`shangxin features`: the worker that keeps item windows."""

from __future__ import annotations

import sys


def command() -> None:
    """Keep views, carts and purchases of each item over 1 h and 24 h of event time, and publish item-features."""
    from stream.features.run import features
    from stream.process import run_worker
    from stream.settings import load_settings

    sys.exit(run_worker("features", load_settings(), features))
