"""Dropout from a pool of masks: torch draws the bits of a mask one by one on a CPU, a seventh of a training step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

POOL = 1 << 23
"""Bits of a pool, some 20 masks of a batch of 1,024 tokens; a mask begins anywhere in it."""


class PooledDropout(nn.Module):
    """Like nn.Dropout for at most POOL / 2 values, where the device is a CPU. p: chance of a zero.

    Masks are stretches of one pool of independent bits, drawn from torch's generator like the stretch's begin, so that
    a run that goes on repeats what it would have done. Two masks that overlap are the same there, shifted."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        kept = torch.rand(POOL if p else 1, generator=torch.Generator().manual_seed(1)) >= p
        self._pool = (kept / (1.0 - p)).bfloat16()

    def forward(self, values: Tensor) -> Tensor:
        """The same shape."""
        if not self.training or self.p == 0.0:
            return values
        count = values.numel()
        if count > POOL // 2 or values.device.type != "cpu":
            return nn.functional.dropout(values, self.p)
        begin = int(torch.randint(POOL - count, (1,)))
        return values * self._pool[begin : begin + count].view(values.shape).to(values.dtype)


def pool_dropout(model: nn.Module) -> None:
    """Put it for every nn.Dropout of the model."""
    pools: dict[float, PooledDropout] = {}
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                pools.setdefault(child.p, PooledDropout(child.p))
                setattr(module, name, pools[child.p])
