# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models of trained networks, and what their cards say of the run."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from grasp_ros.training.config import TrainingConfig
from grasp_ros.training.stages import Networks, encode_walks
from grasp_ros.training.state import RunState
from grasp_ros.world_models.base import ActionSpec, CameraSpec, ModelCard
from grasp_ros.world_models.jepa import Jepa

_PACKAGES = ('torch', 'numpy', 'mujoco-core', 'safetensors')
_CALIBRATION_FRAMES = 10  # every tenth training walk is enough for the latent's scale


@dataclass(frozen=True, kw_only=True)
class Robot:
    """What a card says of the robot, whatever its model.

    :param cameras: name -> size of the picture
    :param actions: the A entries of an action
    :param step_sec: the model step, seconds
    """

    cameras: Mapping[str, CameraSpec]
    actions: tuple[ActionSpec, ...]
    step_sec: float


def spread(networks: Networks, images: torch.Tensor, space: str) -> float:
    """Root mean square about their mean of the entries that the cost sees, a latent's scale.

    :param images: of the training walks, uint8 ``[E, L, size, size, 3]``
    :param space: ``plain`` or ``metric``
    """
    latents = networks.moving(encode_walks(networks, images[::_CALIBRATION_FRAMES], space))
    return float(latents.flatten(0, 1).var(dim=0).mean().sqrt())


def make_model(name: str, space: str, networks: Networks, config: TrainingConfig, robot: Robot,
               size: int, scale: float, training: Mapping[str, Any]) -> Jepa:
    """The model of one latent, with a card that lacks tolerance and metrics.

    :param name: of the model
    :param space: ``plain`` or ``metric``
    :param size: entries of the latent
    :param scale: of the latent, :func:`spread`
    :param training: what the card says about the run
    """
    architecture = {
        'type': 'jepa',
        **({'colours': config.colours} if config.colours else
           {'channels': list(config.channels), 'encoder_width': config.encoder_width}),
        'metric_width': config.metric_width if space == 'metric' else 0,
        'predictor_width': config.predictor_width, 'probe_width': config.probe_width,
    }
    if config.probe_points > 1:
        architecture['probe_points'] = config.probe_points
    if config.velocity_gain:
        architecture['velocity_gain'] = config.velocity_gain
    if config.static_size:
        architecture['static_size'] = config.static_size
    model = Jepa(ModelCard(
        name=name, architecture=architecture, cameras=robot.cameras, actions=robot.actions,
        latent_shape=(size,), model_step_sec=robot.step_sec,
        frames=2 if config.velocity_gain else 1, latent_scale=scale, training=training))
    for own, trained in (('encoder', 'encoder'), ('head', f'{space}_head'),
                         ('static_head', 'static_head'), ('predictor', f'{space}_predictor'),
                         ('probe', f'{space}_probe')):
        if trained in networks:
            getattr(model, own).load_state_dict(networks[trained].state_dict())
    return model.eval().requires_grad_(False)


def training_record(config: TrainingConfig, state: RunState, command: str, *, frames: int
                    ) -> dict[str, Any]:
    """What a card says about the run, as JSON types.

    :param command: that it was started with
    :param frames: that it was trained on
    """
    return {
        'command': command, 'world': config.task, 'seed': config.seed, 'frames': frames,
        'wall_sec': sum(state.stage_sec.values()),
        'cpu_sec': sum(state.stage_cpu_sec.values()),
        'stage_sec': state.stage_sec, 'stage_cpu_sec': state.stage_cpu_sec,
        'interruptions': state.interruptions,
        'machine': {'cores': os.cpu_count(), 'threads': torch.get_num_threads(),
                    'processor': platform.machine(), 'python': platform.python_version()},
        'versions': {name: _version(name) for name in _PACKAGES},
        'config': dataclasses.asdict(config),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
