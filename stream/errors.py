"""The errors of a worker, as a tree whose branches are remedies. Records' own errors: schemas.errors.

StreamError
├── Fatal                the process ends non-zero; the message names the command that repairs it
│   ├── SourceMoved      offset out of range, a stamp beyond the log's end, partition count changed
│   ├── Stuck            lag and no progress for the stated time
│   ├── Fenced           the last heartbeat is too old to produce safely (rule 4)
│   └── SendFailed       a produce was not acknowledged; nothing was committed past it (rule 2)
└── NotReady             something needed is not there yet: wait, say so, do not take work
"""

from __future__ import annotations


class StreamError(Exception):
    """Root of everything that a worker raises on purpose."""


class Fatal(StreamError):
    """End the process with a non-zero status."""


class SourceMoved(Fatal):
    """The source log is not the one that the state or the committed offsets belong to."""


class Stuck(Fatal):
    """There is work and none of it gets done."""


class Fenced(Fatal):
    """This worker may have been replaced; it must not produce."""


class SendFailed(Fatal):
    """The broker did not take a record."""


class NotReady(StreamError):
    """Something needed is not there yet."""
