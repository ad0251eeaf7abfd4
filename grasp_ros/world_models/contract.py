# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A trial of a model, so that one that breaks the contract fails by name and not in a solve."""

from __future__ import annotations

import torch
from torch import Tensor

from grasp_ros.errors import CardError, GraspError, ModelError
from grasp_ros.world_models.base import LatentModel, ModelCard, Observation

_BATCHES = (1, 3)  # what is seen comes one by one, what is planned does not


def check(model: LatentModel) -> None:
    """Encode black pictures, predict, and pull back; compare all shapes with the card, and two
    runs with each other.

    Whether the numbers are finite is not looked at: weights are checked where they are read, and
    a controller looks at every latent.

    :param model: on its device, in evaluation mode
    :raises CardError: when a shape or type is not the one that the card names
    :raises ModelError: when the model raises something, with its text
    """
    card = model.card
    if not isinstance(card, ModelCard):
        raise CardError(f'{type(model).__name__}.card is a {type(card).__name__}, no ModelCard')
    try:
        with torch.no_grad():
            for count in _BATCHES:
                _try(model, count)
    except GraspError:
        raise
    except Exception as error:  # whatever a user's network may raise
        raise ModelError(
            f'model {card.name}: a first try failed: {type(error).__name__}: {error}'
        ) from error


def _try(model: LatentModel, count: int) -> None:
    card, device = model.card, model.device
    shape, blocks = card.latent_shape, (card.history, card.action_block, card.action_size)
    latent = model.encode(black(card, count, device))
    _compare(card, 'encode', latent, (count, *shape))
    context = torch.stack([latent] * card.history, dim=1)
    actions = torch.zeros((count, *blocks), device=device)
    foreseen = model.predict(context, actions)
    _compare(card, 'predict', foreseen, (count, *shape))
    if count == 1:
        _compare_runs(card, 'encode', latent, model.encode(black(card, count, device)))
        _compare_runs(card, 'predict', foreseen, model.predict(context, actions))
    following, pullback = model.predict_with_vjp(context, actions)
    _compare(card, 'predict_with_vjp', following, (count, *shape))
    _compare(card, 'its pullback', pullback(following), (count, *blocks))
    longer = torch.cat((actions, actions[:, -1:]), dim=1)  # two steps: one that is fed back
    _compare(card, 'rollout', model.rollout(context, longer), (count, 2, *shape))
    way, pullback = model.rollout_with_vjp(context, longer)
    _compare(card, 'rollout_with_vjp', way, (count, 2, *shape))
    _compare(card, 'its pullback', pullback(way), tuple(longer.shape))
    _compare(card, 'cost', model.cost(latent, following), (count,))
    _compare(card, 'cost_gradient', model.cost_gradient(latent, following), (count, *shape))
    _compare(card, 'project', model.project(latent), (count, *shape))


def _compare_runs(card: ModelCard, what: str, first: Tensor, second: Tensor) -> None:
    near = 1e-2 * card.latent_scale  # far more than rounding, far less than dropout
    if not torch.allclose(first, second, rtol=1e-2, atol=near, equal_nan=True):
        raise CardError(
            f'model {card.name}: {what} gives other numbers for the same input, as with dropout: '
            'put it into evaluation mode, `.eval()`, before it is exported or handed over'
        )


def black(card: ModelCard, count: int, device: torch.device) -> Observation:
    """Black pictures, and zero wherever else the card asks for something.

    :param count: N
    """
    frames, block = card.frames, card.action_block
    zeros = torch.zeros
    return Observation(
        images={
            name: zeros((count, frames, spec.height, spec.width, 3), dtype=torch.uint8,
                        device=device)
            for name, spec in card.cameras.items()
        },
        proprioception=zeros((count, frames, len(card.proprioception)), device=device)
        if card.proprioception else None,
        actions=zeros((count, frames - 1, block, card.action_size), device=device)
        if frames > 1 else None,
    )  # fmt: skip


def _compare(card: ModelCard, what: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor):
        raise CardError(f'model {card.name}: {what} gives a {type(value).__name__}, not a tensor')
    if value.dtype != torch.float32 or tuple(value.shape) != shape:
        raise CardError(
            f'model {card.name}: {what} gives {value.dtype} {tuple(value.shape)} for '
            f'{shape[0]} rows; by the card it is torch.float32 {shape}'
        )
