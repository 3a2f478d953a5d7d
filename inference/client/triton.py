"""The transport to Triton: one gRPC channel per process and event loop, the model version pinned."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import numpy as np
import tritonclient.grpc.aio as grpc_aio
from tritonclient.utils import InferenceServerException

from inference.client.grpc_errors import error_of
from inference.client.transport import Reply
from inference.contract import EMBEDDING_DIM, LISTING_MODEL
from inference.errors import InferenceError, Misconfigured, Unavailable

CONTROL_TIMEOUT_S = 5.0
"""Metadata, config and readiness calls have no timeout of their own; the server answers them from memory."""
TIMEOUT_MARGIN_S = 0.2
"""The server drops a queued request this long before the client gives it up, so that the client hears of it."""
VERSION_PARAMETER = "shangxin_version"
"""The parameter in the model's config.pbtxt that names its version."""

_TENSORS = {
    "inputs": {"LISTING": ("BYTES", [-1, 1])},
    "outputs": {"RESULT": ("BYTES", [-1, 1]), "EMBEDDING": ("FP32", [-1, EMBEDDING_DIM])},
}

CHANNEL_ARGS: list[tuple[str, int | str]] = [
    # Without it every call of a process goes to one replica (server #4036). Giving any argument
    # replaces all of tritonclient's own, so those are repeated below.
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.max_receive_message_length", 2**31 - 1),
    # A connection that went dead without a word is noticed after 10 + 5 s. Pings go out during
    # calls only, and a call lasts 20 s, so the server's limit of two pings without data holds.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 2),
    # gRPC waits up to two minutes between attempts to connect; a restarted server is wanted sooner.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Retries are the scheduler's, which knows the listings' deadlines.
    ("grpc.enable_retries", 0),
]


class TritonTransport:
    """Transport to a Triton server. The channel is made by the first call, in whatever loop runs then.

    url: `host:port` of the gRPC front. model_version: what must be served, as the number of its
    folder or as its name; empty: the newest that is loaded when `version` is first called.
    """

    def __init__(self, url: str, model_version: str = "") -> None:
        self._url = url
        self._wanted = model_version
        self._pinned = ""
        self._name = ""
        self._client: grpc_aio.InferenceServerClient | None = None
        self._closed = False

    async def infer(self, rows: Sequence[bytes], timeout_s: float) -> list[Reply]:
        """As Transport.infer; the same timeout goes to the server's queue, less a margin."""
        if not self._pinned:
            await self.version()
        queue_s = max(timeout_s / 2, timeout_s - TIMEOUT_MARGIN_S)
        result = await self._call(
            self._connected().infer(
                LISTING_MODEL,
                [_tensor(rows)],
                model_version=self._pinned,
                timeout=round(queue_s * 1e6),
                client_timeout=timeout_s,
            )
        )
        return _replies(result)

    async def ready(self) -> bool:
        """As Transport.ready, for the pinned version, or for any before one is pinned."""
        try:
            client = self._connected()
            return bool(
                await self._call(client.is_model_ready(LISTING_MODEL, self._pinned, client_timeout=CONTROL_TIMEOUT_S))
            )
        except InferenceError:
            return False

    async def version(self) -> str:
        """As Transport.version; the first call that succeeds pins it."""
        if not self._pinned:
            number = await self._newest()
            self._name = await self._name_of(number)
            self._pinned = number
        return self._name

    async def close(self) -> None:
        """Close the channel; calls still in flight fail."""
        self._closed = True
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _connected(self) -> grpc_aio.InferenceServerClient:
        if self._closed:
            raise Unavailable(f"the connection to Triton at {self._url} is closed")
        if self._client is None:
            self._client = grpc_aio.InferenceServerClient(self._url, channel_args=CHANNEL_ARGS)
        return self._client

    async def _newest(self) -> str:
        wanted = self._wanted if self._wanted.isdigit() else ""
        metadata = await self._control(
            self._connected().get_model_metadata(LISTING_MODEL, wanted, as_json=True, client_timeout=CONTROL_TIMEOUT_S)
        )
        _check_tensors(metadata)
        versions = metadata.get("versions", [])
        if not versions:
            raise Unavailable(f"Triton at {self._url} has no version of model {LISTING_MODEL!r} loaded")
        number = wanted or max(versions, key=int)
        if not await self._call(
            self._connected().is_model_ready(LISTING_MODEL, number, client_timeout=CONTROL_TIMEOUT_S)
        ):
            raise Unavailable(f"version {number} of model {LISTING_MODEL!r} is not ready yet")
        return str(number)

    async def _name_of(self, number: str) -> str:
        config = await self._control(
            self._connected().get_model_config(LISTING_MODEL, number, as_json=True, client_timeout=CONTROL_TIMEOUT_S)
        )
        parameters = config.get("config", {}).get("parameters", {})
        name = str(parameters.get(VERSION_PARAMETER, {}).get("string_value", ""))
        if not name:
            raise Misconfigured(f"model {LISTING_MODEL!r} has no parameter {VERSION_PARAMETER!r} in its config.pbtxt")
        if self._wanted and self._wanted not in (number, name):
            raise Misconfigured(f"model version {self._wanted!r} is configured and Triton serves {name!r} ({number})")
        return name

    async def _control(self, call: Awaitable[Any]) -> dict[str, Any]:
        """A metadata call. A model that is not known yet may still be loading: that is a reason to wait."""
        try:
            answer: dict[str, Any] = await self._call(call)
        except Misconfigured as error:
            raise Unavailable(f"Triton at {self._url}: {error}") from None
        return answer

    async def _call(self, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except InferenceServerException as error:
            raise error_of(error.status(), error.message() or "") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and (task is None or not task.cancelling()):
                raise Unavailable("the connection was closed during the call") from None
            raise


def _tensor(rows: Sequence[bytes]) -> grpc_aio.InferInput:
    array = np.empty((len(rows), 1), dtype=np.object_)
    array[:, 0] = rows
    tensor = grpc_aio.InferInput("LISTING", [len(rows), 1], "BYTES")
    tensor.set_data_from_numpy(array)
    return tensor


def _replies(result: grpc_aio.InferResult) -> list[Reply]:
    bodies, embeddings = result.as_numpy("RESULT"), result.as_numpy("EMBEDDING")
    if bodies is None or embeddings is None:
        raise Misconfigured(f"model {LISTING_MODEL!r} did not give RESULT and EMBEDDING")
    return list(zip(bodies.reshape(-1).tolist(), embeddings, strict=True))


def _check_tensors(metadata: dict[str, Any]) -> None:
    for side, expected in _TENSORS.items():
        found = {t["name"]: (t["datatype"], [int(d) for d in t["shape"]]) for t in metadata.get(side, [])}
        if found != expected:
            raise Misconfigured(f"model {LISTING_MODEL!r} has {side} {found}, expected {expected}")
