"""The settings of a command that talks to broker or model server: the running stack's addresses where none are set."""

from __future__ import annotations

from deploy.embedded.beside import fill_addresses
from stream.settings import Settings, load_settings


def command_settings() -> Settings:
    """Read once, with the addresses of the stack that runs in stack.run_dir filled in."""
    return fill_addresses(load_settings())
