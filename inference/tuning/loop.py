"""The training loop: a task a step, drawn by its share; scored, kept, and gone on with after a kill."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.errors import Misconfigured
from inference.training.licences import add_rows, rows_by_set
from inference.tuning.backbone import Hidden, TorchEncoder
from inference.tuning.batching import Stream, cut, padded
from inference.tuning.config import TrainConfig
from inference.tuning.run import BEST_FILE, CHECKPOINT_FILE, Run
from inference.tuning.task import Encode, Item, Loading, Task, all_tasks, device_of

CHECKPOINT_S = 120.0
"""Between two checkpoints: what a killed run loses at most."""
ENCODE_TOKENS = 4_096
"""Of a batch without gradient."""

Report = Callable[[str, int, int], None]
Scores = dict[str, dict[str, float]]


class Trainer:
    """One run. `train` returns the best scores; `encoder` and `heads` then hold the best state. sets: items of each
    data set (a row may give several), and of what the run was started from."""

    def __init__(
        self,
        config: TrainConfig,
        encoder: TorchEncoder,
        loading: Loading,
        run: Run,
        report: Report,
        teacher: TorchEncoder | None = None,
    ) -> None:
        self._device = usual_device()
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config, self.encoder, self._run, self._report = config, encoder, run, report
        self.tasks: dict[str, Task] = {n: t for n, t in all_tasks().items() if config.shares.get(n, 0.0) > 0.0}
        self._streams: dict[str, Stream] = {}
        self.sets: dict[str, list[int]] = {}
        self.loading = loading
        self.dev: dict[str, list[Item]] = {}
        self.heads = nn.ModuleDict()
        for name, task in self.tasks.items():
            train, dev = task.load(loading)
            report(f"read {name}", len(train), len(train))
            if not train:
                continue  # of a data folder without that set
            if not dev:
                raise Misconfigured(f"share: {name}: rows to measure on; got none in {loading.data}")
            add_rows(
                self.sets,
                rows_by_set([([item.source or name for item in each], at) for at, each in enumerate((train, dev))]),
            )
            self._streams[name] = Stream(train, config.tokens, config.seed)
            self.dev[name] = dev
            if task.head_name not in self.heads:
                self.heads[task.head_name] = task.head()
        if not self._streams:
            raise Misconfigured(f"share: none of {', '.join(self.tasks)} has rows in {loading.data}")
        self.tasks = {name: self.tasks[name] for name in self._streams}
        encoder.to(self._device), self.heads.to(self._device)
        self._teacher = teacher.to(self._device).eval() if teacher else None
        self._before: dict[int, Tensor] = {}
        self.left_out = 0
        self._optimiser, self._schedule = self._optimisers()
        self._done, self._best, self._waited = 0, -1.0, 0

    def train(self) -> Scores:
        """Until the steps are done or patience ends."""
        self._resume()
        begun, saved = time.monotonic(), time.monotonic()
        first = self._done
        every = max(1, self.config.steps // max(1, self.config.scorings))
        draws = self._draws()
        while self._done < self.config.steps:
            name = draws[self._done]
            curves = self._step(name)
            self._done += 1
            self._run.log(
                self._done,
                {**curves, "rate": float(self._schedule.get_last_lr()[-1]), "left out": self.left_out},
            )
            self._report("train", self._done, self.config.steps)
            if self._done % every == 0 or self._done == self.config.steps:
                if self._scored((time.monotonic() - begun) / (self._done - first)):
                    break
                saved = self._save()
            elif time.monotonic() - saved > CHECKPOINT_S:
                saved = self._save()
        self._restore_best()
        self._run.close()
        return self.scores(None)

    def scores(self, rows: int | None) -> Scores:
        """Of every task on its development items, the first `rows` of them."""
        self.encoder.eval(), self.heads.eval()
        found = {}
        for name, task in self.tasks.items():
            found[name] = task.score(self.heads[task.head_name], self.dev[name][:rows], self.encode)
            self._report(f"score {name}", 1, 1)
        self.encoder.train(), self.heads.train()
        return found

    @property
    def encode(self) -> Encode:
        """States and features of items, without gradient."""
        return lambda items: encode_items(self.encoder, items, self.config.bf16)

    def _step(self, name: str) -> dict[str, float]:
        """Curves: the loss, and how alike the states are."""
        task, items = self.tasks[name], self._streams[name].next()
        ids, mask = (each.to(self._device) for each in padded(items))
        self.encoder.train(), self.heads.train()
        embedded = self.encoder.embedded(ids) if self.config.adversarial and not task.text else None
        with half(self.config.bf16, self._device):
            hidden = self.encoder(ids, mask, embedded)
        loss = task.loss(self.heads[task.head_name], hidden, items)
        alike = likeness(hidden)
        total = loss
        if not task.text:
            total = loss + self.config.apart * torch.relu(alike - self.config.alike).mean()
            if self._teacher is not None:
                total = total + self.config.taught * self._distance(self._teacher, hidden, ids)
        elif self.config.keep_embedding and self.encoder.can_look_back:
            kept = 1.0 - (hidden.pooled * self._as_it_was(items, ids, mask)).sum(-1)
            total = loss + self.config.keep_embedding * kept.mean()
        curves = {f"loss {name}": float(loss.detach()), f"alike {name}": float(alike.detach().max())}
        if not math.isfinite(curves[f"loss {name}"]):
            self.left_out += 1
            self._schedule.step()
            return curves
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if embedded is not None and embedded.grad is not None:
            self._against(task, items, ids, mask, embedded)
        for group in self._optimiser.param_groups:  # apart: a head's large gradient must not still the backbone
            nn.utils.clip_grad_norm_(group["params"], self.config.clip)
        self._optimiser.step()
        self._schedule.step()
        return curves

    def _against(self, task: Task, items: Sequence[Item], ids: Tensor, mask: Tensor, embedded: Tensor) -> None:
        """Gradients of a second pass, whose embeddings are moved to where the loss grows fastest."""
        assert embedded.grad is not None
        real = mask[:, :, None].float()
        slope = embedded.grad * real
        usual = (embedded.detach().norm(dim=-1, keepdim=True) * real).sum((1, 2)) / real.sum((1, 2))
        length = self.config.adversarial * usual
        moved = slope / slope.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12) * length[:, None, None]
        with half(self.config.bf16, self._device):
            hidden = self.encoder(ids, mask, embedded.detach() + moved)
        task.loss(self.heads[task.head_name], hidden, items).backward()  # type: ignore[no-untyped-call]

    def _distance(self, teacher: TorchEncoder, hidden: Hidden, ids: Tensor) -> Tensor:
        """Mean squared distance to the teacher's token states, in squared lengths of those."""
        with torch.no_grad(), half(self.config.bf16, self._device):
            taught = teacher(ids, hidden.mask).states
        real = hidden.mask.bool()
        moved: Tensor = (hidden.states - taught)[real].square().sum(-1) / taught[real].square().sum(-1)
        return moved.mean()

    def _as_it_was(self, items: Sequence[Item], ids: Tensor, mask: Tensor) -> Tensor:
        """Pooled vectors before tuning, computed once an item."""
        if any(id(item) not in self._before for item in items):
            self.encoder.eval()
            with torch.no_grad(), self.encoder.as_it_was(), half(self.config.bf16, self._device):
                pooled = self.encoder(ids, mask).pooled.half().cpu()
            self.encoder.train()
            self._before.update({id(item): pooled[at] for at, item in enumerate(items)})
        return torch.stack([self._before[id(item)] for item in items]).float().to(self._device)

    def _optimisers(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        config = self.config
        groups: list[dict[str, Any]] = [{"params": list(self.heads.parameters()), "lr": config.head_rate}]
        moved = [p for p in self.encoder.parameters() if p.requires_grad]
        if moved:
            groups.append({"params": moved, "lr": config.rate})
        optimiser = torch.optim.AdamW(groups, weight_decay=config.decay, betas=config.betas)
        rise = max(1, int(config.warmup * config.steps))

        def height(step: int) -> float:
            if step < rise:
                return (step + 1) / rise
            return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, config.steps - rise)))

        return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, height)

    def _draws(self) -> list[str]:
        """The task of every step: shares are kept to the step, in an order that the seed decides."""
        total = sum(self.config.shares[name] for name in self.tasks)
        draws = [
            name for name in self.tasks for _ in range(round(self.config.steps * self.config.shares[name] / total))
        ]
        rng = random.Random(self.config.seed)
        while len(draws) < self.config.steps:
            draws.append(rng.choice(list(self.tasks)))
        rng.shuffle(draws)
        return draws[: self.config.steps]

    def _scored(self, step_s: float) -> bool:
        """Whether patience ended."""
        scores = self.scores(self.config.dev_rows)
        self._run.scored(self._done, {**scores, "time": {"seconds a step": step_s}})
        mean = float(np.mean([next(iter(each.values())) for each in scores.values()]))
        if mean > self._best:
            self._best, self._waited = mean, 0
            self._run.save(BEST_FILE, self._weights())
            return False
        self._waited += 1
        return 0 < self.config.patience <= self._waited

    def _weights(self) -> dict[str, Any]:
        return {"encoder": self.encoder.tuned_state(), "heads": self.heads.state_dict(), "step": self._done}

    def _save(self) -> float:
        state = {
            **self._weights(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "streams": {name: [stream.passes, stream.at] for name, stream in self._streams.items()},
            "random": torch.get_rng_state(),
            "random of the GPU": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "best": self._best,
            "waited": self._waited,
            "left_out": self.left_out,
        }
        self._run.save(CHECKPOINT_FILE, state)
        return time.monotonic()

    def _resume(self) -> None:
        state = self._run.load(CHECKPOINT_FILE)
        if state is None:
            return
        self.encoder.load_tuned(state["encoder"])
        self.heads.load_state_dict(state["heads"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        for name, (passes, at) in state["streams"].items():
            self._streams[name].resume(passes, at)
        torch.set_rng_state(state["random"])
        if torch.cuda.is_available() and state["random of the GPU"]:
            torch.cuda.set_rng_state_all(state["random of the GPU"])
        self._done, self._best, self._waited = state["step"], state["best"], state["waited"]
        self.left_out = state["left_out"]

    def _restore_best(self) -> None:
        state = self._run.load(BEST_FILE)
        if state is not None:
            self.encoder.load_tuned(state["encoder"])
            self.heads.load_state_dict(state["heads"])


def usual_device() -> torch.device:
    """A GPU where there is one. Not run on one; that losses leave no tensor behind on the CPU is tested without."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def likeness(hidden: Hidden) -> Tensor:
    """Mean cosine of all pairs of token states of each row, [B]: the squared length of the mean of the unit vectors."""
    weight = hidden.mask[:, :, None].float()
    units = nn.functional.normalize(hidden.states, dim=-1) * weight
    return (units.sum(1) / weight.sum(1)).square().sum(-1)


def encode_items(
    encoder: TorchEncoder, items: Sequence[Item], bf16: bool
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """States [T, 384] and features of each item, in its order, without gradient."""
    order = sorted(range(len(items)), key=lambda at: len(items[at].ids))
    found: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    encoder.eval()
    device = device_of(encoder)
    with torch.no_grad(), half(bf16, device):
        for batch in cut(order, items, ENCODE_TOKENS):
            hidden: Hidden = encoder(*(each.to(device) for each in padded([items[at] for at in batch])))
            read, features = hidden.states.cpu().numpy(), hidden.features.cpu().numpy()
            for row, at in enumerate(batch):
                found[at] = read[row, : len(items[at].ids)], features[row]
    return [found[at] for at in range(len(items))]


@contextmanager
def half(wanted: bool, device: torch.device) -> Iterator[None]:
    """bf16 where it is exact enough: products, not sums."""
    with torch.autocast(device.type, torch.bfloat16, enabled=wanted):
        yield
