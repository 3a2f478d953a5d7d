"""The errors of the embedded stack. Each says what to do next; the command line prints them in one line.

StreamError
└── StackError           the stack cannot do what was asked
    ├── Unavailable      this choice is not to be had here: the next one is tried where the choice is free
    ├── PortTaken        a port is in use: another is picked where it was not asked for by number
    └── AlreadyUp        a stack is up, or coming up, in this run directory
"""

from __future__ import annotations

from stream.errors import StreamError


class StackError(StreamError):
    """The stack cannot do what was asked."""


class Unavailable(StackError):
    """A way to get a broker or a server that this machine does not offer."""


class PortTaken(StackError):
    """Something else listens on the port."""


class AlreadyUp(StackError):
    """One run directory holds one stack."""
