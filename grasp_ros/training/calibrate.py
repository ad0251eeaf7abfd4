# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`grasp-ros calibrate`: limits that a trained model's card lacks, from its evaluation walks.

Training does the same at its end. The walks follow from the seed in the card, so a model need not
be trained again, and its weights stay as they are.
"""

from __future__ import annotations

import dataclasses

import click
import torch
from rich.console import Console
from torch import Tensor

from grasp_ros.errors import ConfigError, GraspError
from grasp_ros.training.config import TrainingConfig
from grasp_ros.training.dataset import Walks
from grasp_ros.training.metrics import Encoded, foresight_limits
from grasp_ros.training.tasks import is_of_recording, world_name
from grasp_ros.training.train import LiveProgress, evaluation_walks
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import ModelCard, Observation, WorldModel

_SIZES = ('walk_length', 'evaluation_walks')  # other ones in a model that was trained quickly


def calibrated(model: WorldModel, walks: Walks) -> ModelCard:
    """The card of a model with ``innovation_limit`` and ``motion_limit``.

    :param walks: of the world of the model, none of which it was trained on
    """
    latents = _encode(model, torch.from_numpy(walks.images))
    innovation, motion = foresight_limits(
        model, Encoded(latents=latents, goals=latents, walks=walks)
    )
    return dataclasses.replace(model.card, innovation_limit=innovation, motion_limit=motion)


def _encode(model: WorldModel, images: Tensor) -> Tensor:
    """Latents of walks, ``[E, L, *latent]``; before its first frame a robot stood where it is."""
    frames, camera = model.card.frames, next(iter(model.card.cameras))
    latents = []
    for walk in images:
        before = torch.cat((walk[:1].expand(frames - 1, -1, -1, -1), walk))
        windows = before.unfold(0, frames, 1).movedim(-1, 1)
        shape = (len(walk), frames - 1, model.card.action_block, model.card.action_size)
        actions = torch.zeros(shape) if frames > 1 else None  # our encoders read pictures alone
        with torch.no_grad():
            latents.append(model.encode(Observation({camera: windows}, actions=actions)))
    return torch.stack(latents)


def _require_world(card: ModelCard) -> None:
    """
    :raises ConfigError: when the model is of another robot than those of the embedded worlds
    """
    if 'world' not in card.training or is_of_recording(card):
        raise ConfigError(
            f'{card.name} was not trained in an embedded world, so none can give its limits; set '
            'control.innovation_limit by what solver_statistics shows in good drives, or train '
            'again with recordings of what is to be foreseen'
        )


@click.command('calibrate')
@click.argument('models', nargs=-1, required=True)
def command(models: tuple[str, ...]) -> None:
    """Write what is unforeseen, and what is a motion, into the cards of trained MODELS.

    A model is a shipped one's name or the folder of a checkpoint. Nothing but its card changes.
    """
    torch.set_num_threads(1)
    console = Console()
    try:
        for name in models:
            folder, model = checkpoint.resolve(name), checkpoint.load(name)
            _require_world(model.card)
            training = model.card.training
            config = TrainingConfig.of(
                world_name(model.card), seed=int(training.get('seed', 0)), quick=False
            )
            sizes = {name: int(training['config'][name]) for name in _SIZES
                     if name in training.get('config', {})}
            config = dataclasses.replace(config, **sizes)
            with LiveProgress(console) as progress:
                walks = evaluation_walks(config, progress)
            card = calibrated(model, walks)
            checkpoint.save_card(card, folder)
            console.print(f'{card.name}: innovation_limit {card.innovation_limit:.4g}, '
                          f'motion_limit {card.motion_limit:.4g}')
    except GraspError as error:
        raise click.ClickException(str(error)) from error
