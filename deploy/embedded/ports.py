"""Ports on the loopback address: free ones, and whether a given one is free."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence

from deploy.embedded.errors import PortTaken

HOST = "127.0.0.1"
# How both servers say that a port is taken (Kafka: "Address already in use"; Triton: "Socket ... already in use").
IN_USE = "already in use"


def pick_ports(names: Sequence[str], wanted: Sequence[int]) -> list[int]:
    """One port for each name: the wanted one, or a free one where 0 is wanted. All differ.

    All sockets stay open until the last port is known, so that no port is given out twice. Between this and
    the child's own bind another process may still take one: the caller tries again on PortTaken.
    Raises PortTaken when a wanted port is in use.
    """
    with contextlib.ExitStack() as held:
        return [_bind(held, name, port) for name, port in zip(names, wanted, strict=True)]


def listening(port: int, timeout_s: float = 1.0) -> bool:
    """Whether something accepts connections on the port."""
    try:
        socket.create_connection((HOST, port), timeout_s).close()
    except OSError:
        return False
    return True


def _bind(held: contextlib.ExitStack, name: str, port: int) -> int:
    sock = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    # As the servers do it: connections of a stack that has just ended (TIME_WAIT) do not block a port.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
    except OSError as error:
        raise PortTaken(
            f"{name}: port {port} on {HOST} is in use ({error.strerror}); end what listens there, "
            f"choose another port, or set 0 for a free one"
        ) from error
    return int(sock.getsockname()[1])
