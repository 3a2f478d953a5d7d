"""`shangxin demo`: real events through a real broker and a real model server, and what comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell has it: 128 + SIGINT."""


def command(
    summary: Annotated[Path | None, typer.Option(help="Write the summary there as JSON.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running and print the addresses.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End what an earlier --keep left running.")] = False,
    speed: Annotated[
        float, typer.Option(min=0, help="Seconds of event time replayed in one second; 0: as fast as possible.")
    ] = 15_000.0,
    products: Annotated[int, typer.Option(min=0, help="Products of completejourney, beside the 210 listings.")] = 300,
    events: Annotated[int, typer.Option(min=0, help="Behaviour events, real and simulated.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Seed of what is simulated.")] = 20_260_101,
    deadline: Annotated[float, typer.Option(min=1, help="Give up when it is not through after so many seconds.")] = 900,
) -> None:
    """Show shangxin working.

    Starts a broker and a model server on free ports, creates the topics, starts the three workers, replays
    real and simulated events (docs/simulator.md) in the order of event time, shows what comes out, and ends by
    itself when all is through. Exit status 0: every product enriched, every bad record refused for its reason.
    """
    from rich.console import Console

    from stream.demo.run import Options, run_demo
    from stream.demo.scenario import Size
    from stream.settings import load_settings

    settings = load_settings()
    if stop:
        _stop(settings.stack.run_dir / "demo")
        return
    options = Options(
        size=Size(products=products, events=events, seed=seed),
        speed=speed,
        keep=keep,
        summary=summary,
        deadline_s=deadline,
    )
    try:
        status = run_demo(settings, options, Console(highlight=False))
    except KeyboardInterrupt:
        typer.echo("stopped, with everything that was started", err=True)
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(status)


def _stop(run_dir: Path) -> None:
    from deploy.embedded.stack import Stack
    from stream.demo.workers import stop_kept
    from stream.settings import load_settings

    settings = load_settings()
    stack = settings.stack.model_copy(update={"run_dir": run_dir})
    workers = stop_kept(run_dir)
    was_up = Stack(settings.model_copy(update={"stack": stack}), keep_state=False, detach=True).down()
    typer.echo(f"ended {workers} workers and the stack" if was_up or workers else "nothing was left running")
