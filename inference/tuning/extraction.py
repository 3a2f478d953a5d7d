"""What tasks that find stretches share: prompts as items, the tagger's loss over them, and what it finds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.model.prompt import NAMES_A_PROMPT, Prompt, make_prompt, name_vectors
from inference.model.tokenizer import Tokens
from inference.tasks.tagger import Found, Tagger
from inference.tasks.units import HASH_SLOTS, SHAPES, Frame, Units
from inference.training import corpora
from inference.training.data import AttributeRow
from inference.tuning.backbone import Hidden
from inference.tuning.tagger import Arrays, TaggerConfig, TaggerNet, chain_loss, export_tagger
from inference.tuning.task import Encode, Item

WIDTH = 384
HEAD = "tagger"
CONFIG = TaggerConfig()
LEVEL = 1e-3
"""Weight of the squared mean of a unit's five logits. The chain's likelihood does not change when all of them move
together, so nothing else holds them: in long prompts they ran to -320, the gated product's gradient to 100,000 times
the rest, and clipping left nothing for the backbone (docs/adr/0008)."""
LEAST = 0.5
"""Threshold while training; the shipped ones are chosen afterwards."""


@dataclass(frozen=True)
class Asked:
    """The body of an item. row: as the data has it. tags: int64 [N, U], by name of the prompt."""

    row: object
    text: str
    prompt: Prompt
    frame: Frame
    tags: NDArray[np.int64]
    names: tuple[str, ...]


def item_of(
    row: object, text: str, tokens: Tokens, names: Sequence[tuple[str, Tokens]], frame: Frame, tags: NDArray[np.int64]
) -> Item:
    """One prompt. tags [N, units of the whole text]; units that the prompt has no room for are cut."""
    prompt = make_prompt(tokens, [each for _, each in names])
    seen = int(prompt.tokens.offsets[:, 1].max(initial=0))
    kept = int((frame.ends <= seen).sum())
    frame = Frame(
        frame.starts[:kept],
        frame.ends[:kept],
        frame.touch[:kept, : prompt.text],
        frame.shapes[:kept],
        frame.hashed[:kept],
    )
    asked = Asked(row, text, prompt, frame, tags[:, :kept], tuple(n for n, _ in names))
    return Item(prompt.tokens.ids, asked, row.source if isinstance(row, AttributeRow) else corpora.SPANS)


def shuffled(names: Sequence[str], rng: random.Random) -> list[int]:
    """An order of at most NAMES_A_PROMPT names."""
    order = list(range(len(names)))
    rng.shuffle(order)
    return order[:NAMES_A_PROMPT]


def new_head() -> nn.Module:
    """The tagger over states of the last layer."""
    return TaggerNet(CONFIG, WIDTH)


def tagger_loss(head: nn.Module, hidden: Hidden, items: Sequence[Item]) -> Tensor:
    """As `names_loss`, of the states of prompts."""
    bodies: list[Asked] = [item.body for item in items]
    units, most = max(len(b.frame) for b in bodies), max(len(b.names) for b in bodies)
    tokens = hidden.states.shape[1]
    touch = np.zeros((len(items), units, tokens), np.float32)
    places = np.zeros((len(items), most, tokens), np.float32)
    for row, body in enumerate(bodies):
        length, text = body.frame.touch.shape
        touch[row, :length, :text] = body.frame.touch
        for at, (first, end) in enumerate(body.prompt.places):
            places[row, at, first:end] = 1.0 / max(end - first, 1)
    states, names = (torch.from_numpy(each).to(hidden.states.device) @ hidden.states for each in (touch, places))
    return names_loss(head, states, names, [(body.frame, body.tags) for body in bodies])


def names_loss(
    head: nn.Module, states: Tensor, names: Tensor, rows: Sequence[tuple[Frame | Units, NDArray[np.int64]]]
) -> Tensor:
    """Minus the log likelihood of the tags a name, mean, and a little for the logits' level.

    states [B, U, 384] and names [B, N, 384], padded with 0; rows: units and tags [N, U] of each."""
    shape = states.shape[:2]
    shapes = np.zeros((*shape, SHAPES), np.float32)
    hashed = np.zeros((*shape, HASH_SLOTS), np.int64)
    tags = np.full((len(rows), names.shape[1], shape[1]), -1, np.int64)
    for row, (units, gold) in enumerate(rows):
        shapes[row, : len(units)], hashed[row, : len(units)] = units.shapes, units.hashed
        tags[row, : len(gold), : len(units)] = gold
    real = np.flatnonzero(tags.reshape(-1, shape[1])[:, :1] >= 0)
    device = states.device
    known, wording, truth, pairs = (torch.from_numpy(each).to(device) for each in (shapes, hashed, tags, real))
    logits = head(states, known, wording, names).flatten(0, 1)[pairs]
    truth = truth.flatten(0, 1)[pairs]
    loss = chain_loss(logits, truth, head.steps)  # type: ignore[arg-type]
    inside = truth >= 0
    level: Tensor = (logits.mean(-1).square() * inside).sum() / inside.sum()
    return loss / sum(len(gold) for _, gold in rows) + LEVEL * level


def tagger_arrays(head: nn.Module) -> Arrays:
    """For inference.tasks.tagger.Tagger; states go in as they are, scores come out as they are."""
    assert isinstance(head, TaggerNet)
    return {
        **export_tagger(head),
        "platt": np.array([1.0, 0.0], np.float32),
    }


def found_in(head: nn.Module, items: Sequence[Item], encode: Encode, least: float = LEAST) -> list[list[list[Found]]]:
    """Found stretches of each item and name."""
    tagger = Tagger(tagger_arrays(head))
    found = []
    for item, (states, _) in zip(items, encode(items), strict=True):
        body: Asked = item.body
        units = body.frame.units(states[: body.prompt.text])
        found.append(tagger.find(units, name_vectors(states, body.prompt), least))
    return found
