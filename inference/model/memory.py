"""Memory that loading needed and nothing needs afterwards."""

from __future__ import annotations

import ctypes


def give_back_freed() -> None:
    """Return freed memory to the system, where the C library can (glibc).

    ONNX Runtime computes the int8 matrices while it loads a graph; of what that takes glibc keeps 0.5 GB a process as
    free lists: 567 MB resident after loading, 37 MB after this."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return  # musl and others have no such call and keep less
