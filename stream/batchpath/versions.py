"""The binary form of a stage's keyed state, with the version that says who can read it (rule 8)."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import msgspec

from schemas.topics import Topic
from stream.errors import Fatal


class Versioned(Protocol):
    """A state that is an array in MessagePack; `version` is its first field."""

    version: int


S = TypeVar("S", bound=Versioned)

_loose = msgspec.msgpack.Decoder(list[object])


class StateCodec(Generic[S]):
    """Encodes and decodes one type of state.

    name: of it in messages, e.g. "item". readable: versions that the code reads, its own last. topic: the
    changelog, named in what repairs a state that cannot be read.
    """

    def __init__(self, kind: type[S], name: str, readable: tuple[int, ...], topic: Topic) -> None:
        self._name = name
        self._readable = readable
        self._repair = (
            f"run the version that wrote it, or rebuild: stop the group, delete and make the topic {topic.name} again, "
            "and start the group from the earliest offset"
        )
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(kind)

    def encode(self, state: S) -> bytes:
        """MessagePack, fields by position."""
        return self._encoder.encode(state)

    def decode(self, data: bytes) -> S:
        """A state of any readable version, as one of the code's own.

        Raises Fatal for a state of another version, or one that is damaged.
        """
        try:
            state = self._decoder.decode(data)
        except msgspec.DecodeError as error:
            what = f"{self._name} state of version {_version_of(data)} cannot be read ({error})"
            raise Fatal(f"{what}; {self._repair}") from None
        if state.version not in self._readable:
            what = f"{self._name} state has version {state.version}, this code reads {self._readable}"
            raise Fatal(f"{what}; {self._repair}")
        state.version = self._readable[-1]
        return state


def _version_of(data: bytes) -> object:
    try:
        return _loose.decode(data)[0]
    except (msgspec.DecodeError, IndexError):
        return "unknown"
