"""The manifest: what one model version is made of, by content. Its hash is the version's name.

Nothing in it depends on where or when it was built, so the same parts give the same name on any machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from inference.errors import Misconfigured

MANIFEST_FILE = "manifest.json"
FORMAT = 1
GENERATION = "v1"
HEX = 12
"""48 bits of SHA-256: enough that two versions of one platform never meet, short enough for a label."""


class ManifestError(Misconfigured):
    """A servable folder is incomplete or was changed; the message names the file."""


class HeadRef(Struct, frozen=True):
    """A task head: SHA-256 of its arrays (`npz`) and of its meta (`json`: thresholds, labels, data, licence)."""

    npz: str
    json: str


class Manifest(Struct, frozen=True, kw_only=True):
    """Everything that decides an answer. Values are SHA-256 in hex unless said otherwise.

    backbone: package and file, `backbone_sha256`: its content. encoder, reader, matrices, tokenizer: the files
    made of it. taxonomy, schema: their versions (hash of content). names: the encoded names of the taxonomy.
    code: path in the project to hash. buckets: tokens. accelerator: what the encoders' graphs are made for.
    """

    format: int = FORMAT
    backbone: str
    backbone_sha256: str
    encoder: str
    reader: str
    matrices: str
    tokenizer: str
    taxonomy: str
    schema: str
    taxonomy_file: str
    schema_file: str
    names: str
    heads: dict[str, HeadRef]
    buckets: tuple[int, ...]
    accelerator: str = "cpu"
    code: dict[str, str]

    @property
    def version(self) -> str:
        """`v1-<12 hex>`: the name that every result carries."""
        return f"{GENERATION}-{hashlib.sha256(self.encode()).hexdigest()[:HEX]}"

    @property
    def space(self) -> str:
        """Name of the embedding's space: two encoders never share one."""
        return f"e5-small-{hashlib.sha256((self.encoder + self.matrices + self.tokenizer).encode()).hexdigest()[:HEX]}"

    @property
    def versions(self) -> dict[str, str]:
        """What a result says about its origin."""
        return {"model": self.version, "taxonomy": self.taxonomy, "schema": self.schema, "space": self.space}

    def encode(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces."""
        return msgspec.json.encode(self, order="sorted")

    def save(self, folder: Path) -> None:
        """Write `manifest.json`."""
        (folder / MANIFEST_FILE).write_bytes(self.encode())


def load_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest. Raises ManifestError when it is not there or not of this format."""
    path = folder / MANIFEST_FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}; make it with `shangxin models build`") from None
    except msgspec.DecodeError as error:
        raise ManifestError(f"{path}: not a manifest ({error})") from None
    if found.format != FORMAT:
        raise ManifestError(f"{path}: format {found.format}; this code reads {FORMAT}")
    return found


def check_file(path: Path, expected: str) -> None:
    """Raise ManifestError unless the file's content has this SHA-256."""
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}; build again") from None
    if found != expected:
        raise ManifestError(f"{path}: content {found[:HEX]} is not the manifest's {expected[:HEX]}; build again")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """Path under `root` to hash."""
    return {file.relative_to(root).as_posix(): sha256_of(file) for file in sorted(files)}
