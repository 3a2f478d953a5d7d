"""The transport to an engine in this process: what `shangxin enrich --file` uses, with no server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import msgspec

from inference.client.transport import Embedding, Reply
from inference.contract import ListingAnswer, ListingInput
from inference.errors import TimedOut, Unavailable


class Manifest(Protocol):
    """What says which version the engine is."""

    @property
    def version(self) -> str:
        """Name of the model version."""
        ...


class Engine(Protocol):
    """What answers: inference.serving.engine.LocalEngine, or anything of its shape."""

    @property
    def manifest(self) -> Manifest:
        """The manifest of the model version."""
        ...

    def answer(self, inputs: Sequence[ListingInput]) -> Sequence[tuple[ListingAnswer, Embedding]]:
        """One answer an input, in order."""
        ...


T = TypeVar("T")

_decoder = msgspec.json.Decoder(ListingInput)
_encode = msgspec.json.Encoder().encode


class LocalTransport:
    """One thread owns the engine: it is made there by `make`, at the first call, and called there only.

    A call that was cancelled or timed out is finished by the thread all the same, before the next one.
    """

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make
        self._engine: Engine | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._closed = False

    async def infer(self, rows: Sequence[bytes], timeout_s: float) -> list[Reply]:
        """As Transport.infer."""
        work = self._submit(lambda: self._answer(rows))
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except TimeoutError:
            raise TimedOut(f"the engine did not answer {len(rows)} listings in {timeout_s:.1f} s") from None

    async def ready(self) -> bool:
        """As Transport.ready."""
        return self._engine is not None and not self._closed

    async def version(self) -> str:
        """As Transport.version; makes the engine."""
        return await self._submit(lambda: self._made().manifest.version)

    async def close(self) -> None:
        """As Transport.close; waits for what the thread is doing."""
        self._closed = True
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._closed:
            raise Unavailable("the engine is closed")
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _made(self) -> Engine:
        if self._engine is None:
            self._engine = self._make()
        return self._engine

    def _answer(self, rows: Sequence[bytes]) -> list[Reply]:
        answers = self._made().answer([_decoder.decode(row) for row in rows])
        return [(_encode(answer), embedding) for answer, embedding in answers]
