"""`shangxin profiles`: the worker that keeps user profiles."""

from __future__ import annotations

import sys


def command() -> None:
    """Join behaviour with listing facts; publish user-profile-updated, user-features and behaviour-by-product."""
    from stream.process import run_worker
    from stream.profiles.run import profiles
    from stream.settings import load_settings

    sys.exit(run_worker("profiles", load_settings(), profiles))
