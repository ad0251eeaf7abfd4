# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a device can do at best: how far a planner is from it says what is left to gain."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from grasp_ros.world_models.accelerated import PRECISIONS
from grasp_ros.world_models.base import WorldModel
from grasp_ros.world_models.captured import Graphs

CHAIN = 1000  # kernels, one after the other, to find how fast they follow


@dataclass(frozen=True)
class Roofline:
    """What a device can do at best.

    :param flops: operations a second, of a large product of matrices in the model's precision
    :param bytes: read and written a second, of a copy that no cache holds
    :param kernels: launched a second, one after the other, by a CUDA graph; infinite on the CPU
    """

    flops: float
    bytes: float
    kernels: float = math.inf

    def bound_sec(self, *, flops: float, read: float) -> float:
        """The least time for so many operations on so many bytes."""
        return max(flops / self.flops, read / self.bytes)


def roofline(device: torch.device, precision: str = 'float32') -> Roofline:
    """What the device does at best, measured."""

    def best_sec(work: Callable[[], Any]) -> float:
        times = []
        for _ in range(8):
            if device.type == 'cuda':
                torch.cuda.synchronize(device)
            started_sec = time.perf_counter()
            work()
            if device.type == 'cuda':
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - started_sec)
        return min(times)

    side, count = (8192, 2**28) if device.type == 'cuda' else (2048, 2**26)
    dtype = PRECISIONS[precision] or torch.float32
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    source = torch.zeros(count, device=device)
    target = torch.empty_like(source)
    kernels = math.inf
    if device.type == 'cuda':
        number = torch.zeros(1, device=device)
        chain = Graphs(device).capture(lambda: [number.add_(1) for _ in range(CHAIN)])
        kernels = CHAIN / best_sec(chain.replay)
    return Roofline(
        flops=2.0 * side**3 / best_sec(lambda: left @ right),
        bytes=2.0 * source.nbytes / best_sec(lambda: target.copy_(source)),
        kernels=kernels,
    )


def weight_bytes(model: WorldModel) -> int:
    """Bytes of the weights that a prediction reads."""

    class Seen(TorchDispatchMode):
        weights: ClassVar[dict[int, int]] = {}

        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            for value in tree_leaves((args, kwargs)):
                if isinstance(value, Tensor):
                    place = value.untyped_storage().data_ptr()
                    if place in of_model:
                        self.weights[place] = of_model[place]
            return function(*args, **(kwargs or {}))

    of_model = {p.untyped_storage().data_ptr(): p.nbytes for p in model.parameters()}
    card = model.card
    shape = (1, card.history, card.action_block, card.action_size)
    with Seen() as seen:
        model.predict_with_vjp(
            torch.zeros((1, card.history, *card.latent_shape), device=model.device),
            torch.zeros(shape, device=model.device),
        )
    return sum(seen.weights.values())
