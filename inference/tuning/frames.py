"""Units of a text before the states of its tokens are known, and a tokenizer that leaves ideographs apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, pre_tokenizers

from inference.model.encoder import Encoded
from inference.tasks.units import IDEOGRAPH, Units, make_units

NOTHING = np.zeros(0, np.float32)


def make_frame(text: str, offsets: NDArray[np.int32]) -> Units:
    """Units of the part of `text` that the tokens cover; `states` are [U, T], the weights of the tokens that each
    unit touches. offsets [T, 2]."""
    identity = np.eye(len(offsets), dtype=np.float32)
    return make_units(text, Encoded(np.zeros(len(offsets), np.int64), offsets, identity, NOTHING, NOTHING, False))


def with_states(frame: Units, states: NDArray[np.float32]) -> Units:
    """The units with the states of the tokens [T, 384]."""
    return Units(frame.starts, frame.ends, (frame.states @ states).astype(np.float32), frame.shapes, frame.hashed)


def single_ideographs(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer, pieces of several ideographs left out: spans of Chinese text begin and end anywhere, and
    a token that covers two characters has one state for both. Changes the given one."""
    apart = pre_tokenizers.Split(Regex(f"[{IDEOGRAPH}]"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([tokenizer.pre_tokenizer, apart])
    return tokenizer
