"""The model repository of the demo: assembled when it is not there yet, with progress."""

from __future__ import annotations

from inference.serving.build import build
from stream.cli.progress import progress
from stream.settings import Settings


def build_models(settings: Settings) -> str:
    """Make the repository where the stack looks for it; returns its version, empty for somebody else's server."""
    if settings.triton.url:
        return ""
    with progress() as report:
        return build(settings.stack.models_dir, report=report).version
