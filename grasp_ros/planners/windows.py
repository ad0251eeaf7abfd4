# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plans as a model reads them: the windows of all steps in one batch, and the way back."""

from __future__ import annotations

import torch
from torch import Tensor

from grasp_ros.planners.base import Problem


def windows(problem: Problem, latents: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """What the model reads in every step of every plan, for one call with all of them.

    :param latents: ``[R, H + T, *latent]``
    :param actions: ``[R, T, k, A]``
    :return: context ``[R T, H, *latent]`` and blocks ``[R T, H, k, A]``
    """
    horizon = actions.shape[1]
    history = problem.context.shape[0]
    if history == 1:
        context = latents[:, :horizon].flatten(0, 1).unsqueeze(1)
        return context, actions.flatten(0, 1).unsqueeze(1)
    past = problem.past_actions.expand(actions.shape[0], *problem.past_actions.shape)
    blocks = torch.cat((past, actions), dim=1)
    context = latents[:, :-1].unfold(1, history, 1).movedim(-1, 2)
    return context.flatten(0, 1), blocks.unfold(1, history, 1).movedim(-1, 2).flatten(0, 1)


def fold(gradient: Tensor, restarts: int, horizon: int) -> Tensor:
    """Sum over the windows that an action block occurs in: the adjoint of :func:`windows`.

    :param gradient: ``[R T, H, k, A]``
    :return: ``[R, T, k, A]``
    """
    history = gradient.shape[1]
    if history == 1:
        return gradient.view(restarts, horizon, *gradient.shape[2:])
    gradient = gradient.reshape(restarts, horizon, *gradient.shape[1:])
    total = gradient[:, :, -1].clone()
    for back in range(1, min(history, horizon)):
        total[:, :-back] += gradient[:, back:, history - 1 - back]
    return total
