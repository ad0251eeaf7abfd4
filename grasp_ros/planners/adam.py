# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Adam on plain tensors, for gradients that no autograd has made."""

from __future__ import annotations

from torch import Tensor

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-12  # below any gradient that matters: costs are means over a latent


def adam_step(
    values: Tensor,
    gradient: Tensor,
    moments: tuple[Tensor, Tensor],
    rate: Tensor | float,
) -> None:
    """One Adam step (arXiv 1412.6980, section 2, the efficient order), in place.

    :param values: what is optimised
    :param moments: first and second moment, zeros before the first step
    :param rate: times :func:`correction`; a number, or broadcastable to ``values``
    """
    first, second = moments
    first.lerp_(gradient, 1 - ADAM_BETAS[0])
    second.mul_(ADAM_BETAS[1]).addcmul_(gradient, gradient, value=1 - ADAM_BETAS[1])
    values.addcdiv_(first * rate, second.sqrt().add_(ADAM_EPSILON), value=-1)


def correction(iteration: int) -> float:
    """What makes up for moments that started at zero.

    :param iteration: number of steps already taken with these moments
    """
    return (1 - ADAM_BETAS[1] ** (iteration + 1)) ** 0.5 / (1 - ADAM_BETAS[0] ** (iteration + 1))
