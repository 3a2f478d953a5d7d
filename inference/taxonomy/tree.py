"""The category tree: nodes with names in each language, loaded from the project's TSV or from Google's format."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

HERE = Path(__file__).parent
DEFAULT_TAXONOMY = HERE / "taxonomy.tsv"
HEADER = "id\tparent\ten\tzh"
GOOGLE_LINE = re.compile(r"^(?P<id>\S+) - (?P<path>.+)$")
GOOGLE_STEP = " > "
VERSION_DIGITS = 12
"""48 bits of SHA-256: two versions of one platform's taxonomy never meet, and it fits into a label."""


class TaxonomyError(ValueError):
    """A file of the taxonomy is wrong. The message names file, line, value and rule."""

    def __init__(self, file: Path, line: int, value: object, rule: str) -> None:
        self.file, self.line, self.value, self.rule = file, line, value, rule
        super().__init__(f"{file}:{line}: {rule}; got {value!r}")


class Node(Struct, frozen=True):
    """One category. parent: empty for a root. zh equals en where the file has no Chinese name."""

    id: str
    parent: str
    en: str
    zh: str

    def name(self, language: str) -> str:
        """The name in a language (BCP 47; anything whose primary subtag is not zh reads English)."""
        return self.zh if primary(language) == "zh" else self.en


class Taxonomy:
    """A validated tree. `nodes` maps id to node, parents before children; `version` is a hash of the content."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes: dict[str, Node] = {node.id: node for node in nodes}
        self.children: dict[str, tuple[str, ...]] = _children(self.nodes.values())
        self._lines: dict[str, tuple[str, ...]] = {root: (root,) for root in self.children.get("", ())}
        for node in self.nodes.values():
            if node.parent:
                self._lines[node.id] = (*self._lines[node.parent], node.id)
        self.version = _version(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, node: object) -> bool:
        return node in self.nodes

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def ancestors(self, node: str) -> tuple[str, ...]:
        """Node ids from the root to `node`, both included. Raises KeyError for an unknown id."""
        return self._lines[node]

    def path(self, node: str, language: str = "en") -> list[str]:
        """Names from the root to `node` in a language. Raises KeyError for an unknown id."""
        return [self.nodes[step].name(language) for step in self._lines[node]]

    def depth(self, node: str) -> int:
        """1 for a root. Raises KeyError for an unknown id."""
        return len(self._lines[node])

    def is_leaf(self, node: str) -> bool:
        """Whether nothing is below `node`."""
        return node not in self.children

    def under(self, node: str) -> list[str]:
        """`node` and all below it, in the order of the file."""
        return [each for each, line in self._lines.items() if node in line]

    def at_depth(self, node: str, depth: int) -> str:
        """The ancestor at `depth` (1 is the root), or `node` itself where it is not that deep."""
        line = self._lines[node]
        return line[min(depth, len(line)) - 1]

    def common(self, first: str, second: str) -> int:
        """How many steps from the root two nodes share: 0 when their roots differ."""
        steps = zip(self._lines[first], self._lines[second], strict=False)
        return next((i for i, (a, b) in enumerate(steps) if a != b), min(self.depth(first), self.depth(second)))


def load_taxonomy(path: Path | None = None, zh: Path | None = None) -> Taxonomy:
    """The default taxonomy, a TSV of the same shape, or a file in Google's format (.txt, .txt.gz).

    zh: the Chinese file in Google's format, joined by id; a node it lacks keeps its English name.
    Raises TaxonomyError, or OSError when a file cannot be read.
    """
    path = path or DEFAULT_TAXONOMY
    if path.name.removesuffix(".gz").endswith(".txt"):
        return Taxonomy(_parents_first(path, _google(path, zh)))
    return Taxonomy(_parents_first(path, _tsv(path)))


def primary(language: str) -> str:
    """Primary subtag of a BCP 47 tag, lower case."""
    return re.split("[-_]", language, maxsplit=1)[0].lower()


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for number, line in enumerate(raw.split(b"\n"), start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r")
        except UnicodeDecodeError:
            raise TaxonomyError(path, number, line[:80], "UTF-8 text") from None
        if text.strip():
            yield number, text


def _tsv(path: Path) -> Iterator[tuple[int, Node]]:
    for number, text in _lines(path):
        if number == 1:
            if text != HEADER:
                raise TaxonomyError(path, number, text, f"the first line is {HEADER!r}")
            continue
        cells = text.split("\t")
        if len(cells) != 4:
            raise TaxonomyError(path, number, text, "four columns with tabs between them: id, parent, en, zh")
        yield number, Node(*(cell.strip() for cell in cells))


def _google(path: Path, zh: Path | None) -> Iterator[tuple[int, Node]]:
    chinese = {id_: steps[-1] for _, id_, steps in _google_rows(zh)} if zh else {}
    by_path: dict[tuple[str, ...], str] = {}
    for number, id_, steps in _google_rows(path):
        if steps in by_path:
            raise TaxonomyError(path, number, GOOGLE_STEP.join(steps), "each path stands once")
        by_path[steps] = id_
        parent = by_path.get(steps[:-1], "")
        if len(steps) > 1 and not parent:
            raise TaxonomyError(path, number, GOOGLE_STEP.join(steps[:-1]), "a parent stands before its children")
        yield number, Node(id_, parent, steps[-1], chinese.get(id_, steps[-1]))


def _google_rows(path: Path) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    for number, text in _lines(path):
        if text.startswith("#"):
            continue
        match = GOOGLE_LINE.match(text)
        if match is None:
            raise TaxonomyError(path, number, text, "a line of the form `id - A > B > C`")
        yield number, match["id"], tuple(step.strip() for step in match["path"].split(GOOGLE_STEP))


def _parents_first(path: Path, rows: Iterable[tuple[int, Node]]) -> list[Node]:
    """The nodes, each after its parent. Refuses duplicates, empty names, unknown parents and cycles."""
    found: dict[str, tuple[int, Node]] = {}
    for number, node in rows:
        if not node.id or not node.en or not node.zh:
            raise TaxonomyError(path, number, [node.id, node.en, node.zh], "id and names are not empty")
        if node.id in found:
            raise TaxonomyError(path, number, node.id, f"ids are unique (also on line {found[node.id][0]})")
        found[node.id] = (number, node)
    for number, node in found.values():
        if node.parent and node.parent not in found:
            raise TaxonomyError(path, number, node.parent, "a parent is the id of another line")
    if not found:
        raise TaxonomyError(path, 1, "", "at least one node")
    return _ordered(path, found)


def _ordered(path: Path, found: dict[str, tuple[int, Node]]) -> list[Node]:
    done: dict[str, Node] = {}
    for start in found:
        line: list[str] = []
        step = start
        while step and step not in done:
            if step in line:
                raise TaxonomyError(path, found[step][0], step, f"no cycle ({' < '.join([*line, step])})")
            line.append(step)
            step = found[step][1].parent
        done.update((each, found[each][1]) for each in reversed(line))
    return list(done.values())


def _children(nodes: Iterable[Node]) -> dict[str, tuple[str, ...]]:
    below: dict[str, list[str]] = {}
    for node in nodes:
        below.setdefault(node.parent, []).append(node.id)
    return {parent: tuple(ids) for parent, ids in below.items()}


def _version(nodes: Iterable[Node]) -> str:
    rows = sorted("\t".join((n.id, n.parent, n.en, n.zh)) for n in nodes)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:VERSION_DIGITS]
