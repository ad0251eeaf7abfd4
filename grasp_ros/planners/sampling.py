# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random numbers of a solve: seeded streams, and noise that moves a robot."""

from __future__ import annotations

import torch
from torch import Tensor

KNOTS = 5


def restart(source: torch.Generator, *, seed: int, tick: int) -> torch.Generator:
    """Random numbers of one solve; the same ``(seed, tick)`` gives the same stream.

    Plans are drawn on the host, so that all devices draw the same ones.
    """
    # The golden-ratio step keeps neighbouring (seed, tick) pairs from sharing a stream.
    source.manual_seed((seed * 0x9E3779B97F4A7C15 + tick) % (1 << 63))
    return source


def correlated_noise(like: Tensor, random: torch.Generator) -> Tensor:
    """Noise that keeps its direction over about a quarter of the horizon.

    White noise averages out over a rollout and explores next to nothing; robots need pushes that
    last. Standard normal values at :data:`KNOTS` knots, joined by straight lines.

    :param like: ``[N, T, k, A]``
    :return: the same shape
    """
    count, horizon, block, size = like.shape
    values = torch.randn((count, size, KNOTS), generator=random)
    smooth = torch.nn.functional.interpolate(
        values, size=horizon * block, mode='linear', align_corners=True
    )
    return smooth.transpose(1, 2).reshape(like.shape).to(like)
