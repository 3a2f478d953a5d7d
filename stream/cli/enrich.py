"""`shangxin enrich`: the worker; with --file, the same on a file of raw listings without Kafka and Triton."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[
        Path | None, typer.Option(help="JSON lines of raw listings (`-`: standard input) instead of the topic.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the enriched listings go; default: standard output.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Where refused lines go, with the reason.")] = None,
) -> None:
    """Enrich listings: as the worker on Kafka and Triton, or with --file in this process.

    Exit status with --file: 0 all enriched, 1 some lines were refused, 2 the file cannot be read.
    """
    from stream.cli.target import command_settings

    settings = command_settings()
    if file is not None:
        from stream.enrichment.file import enrich_file

        sys.exit(enrich_file(settings, file, out, rejects))
    from stream.enrichment.run import enrich
    from stream.process import run_worker

    sys.exit(run_worker("enrichment", settings, enrich))
