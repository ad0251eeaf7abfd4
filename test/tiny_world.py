# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A second, tiny world model and the plant it models: everything the shipped one is not.

Two latents of history, two-step action blocks, a token-shaped latent, proprioception, an actuator
that acts with a delay. Planner and controller must drive it without knowing any of that.
"""

import numpy as np
import torch

from grasp_ros.control.history import Frame
from grasp_ros.planners.base import ActionLimits, Problem
from grasp_ros.world_models.base import (
    ActionSpec,
    CameraSpec,
    LatentModel,
    ModelCard,
    Observation,
    SignalSpec,
)

DAMPING = 0.4
NOW, BEFORE = 0.07, 0.03  # share of the present and of the last action block, metres per unit
CAMERA = 'wrist'
# What suits this plant; the planner's defaults are tuned for the shipped model.
GRASP = {'noise_scale': 0.0, 'action_rate': 0.05, 'state_rate': 0.5}

CARD = ModelCard(
    name='tiny',
    architecture={'type': 'tiny'},
    cameras={CAMERA: CameraSpec(height=2, width=4)},
    actions=(ActionSpec('x', 'm/s', -0.3, 0.3), ActionSpec('y', 'm/s', -0.2, 0.2)),
    latent_shape=(2, 2),
    model_step_sec=0.2,
    action_block=2,
    frames=2,
    history=2,
    proprioception=(SignalSpec('x', 'm'),),
    latent_scale=0.3,
    goal_tolerance=0.003,
)


class TinyModel(LatentModel):
    """Tokens: the place, and the place turned by 90 degrees; exact up to the picture's bits."""

    def encode(self, observation: Observation) -> torch.Tensor:
        observation.check(self.card)
        image = observation.images[CAMERA][:, -1].to(torch.float32)
        place = (image[:, 0, :2, 0] * 256 + image[:, 1, :2, 0]) / 65535
        return torch.stack((place, torch.stack((-place[:, 1], place[:, 0]), dim=1)), dim=1)

    def predict(self, context: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        push = NOW * actions[:, -1].sum(dim=1) + BEFORE * actions[:, -2].sum(dim=1)
        turned = torch.stack((-push[:, 1], push[:, 0]), dim=1)
        velocity = context[:, -1] - context[:, -2]
        return context[:, -1] + DAMPING * velocity + torch.stack((push, turned), dim=1)


class Plant:
    """What :class:`TinyModel` models, one control step at a time."""

    def __init__(self, place) -> None:
        self.place = np.array(place, dtype=np.float64)
        self.previous = self.place.copy()
        self.block = [np.zeros(2), np.zeros(2)]
        self.last_block = [np.zeros(2), np.zeros(2)]
        self.steps = 0

    @property
    def stamp_sec(self) -> float:
        return self.steps * CARD.control_period_sec

    def frame(self) -> Frame:
        return Frame(
            images={CAMERA: picture(self.place)},
            stamp_sec=self.stamp_sec,
            proprioception=self.place[:1].copy(),
        )

    def step(self, action) -> None:
        self.block[self.steps % 2] = np.array(action)
        self.steps += 1
        if self.steps % 2 == 0:
            push = NOW * sum(self.block) + BEFORE * sum(self.last_block)
            following = self.place + DAMPING * (self.place - self.previous) + push
            self.previous, self.place = self.place, following
            self.last_block = list(self.block)


def picture(place) -> np.ndarray:
    """The place as 16-bit numbers in two rows of pixels."""
    values = np.rint(np.clip(place, 0, 1) * 65535).astype(np.int64)
    image = np.zeros((2, 4, 3), dtype=np.uint8)
    image[0, :2, 0], image[1, :2, 0] = values >> 8, values & 255
    return image


def observation(place) -> Observation:
    """A robot at rest at a place."""
    image = torch.from_numpy(picture(place)).expand(1, 2, 2, 4, 3)
    return Observation(
        images={CAMERA: image},
        proprioception=torch.zeros(1, 2, 1),
        actions=torch.zeros(1, 1, 2, 2),
    )


def limits(max_change=None) -> ActionLimits:
    return ActionLimits(
        low=torch.tensor([-0.3, -0.2]),
        high=torch.tensor([0.3, 0.2]),
        max_change=None if max_change is None else torch.tensor(max_change),
    )


def problem(
    model, *, start=(0.2, 0.3), goal=(0.7, 0.6), dtype=torch.float32, **changes
) -> Problem:
    """From rest at one place to another."""
    here, there = (model.encode(observation(place))[0].to(dtype) for place in (start, goal))
    values = {
        'context': torch.stack((here, here)),
        'past_actions': torch.zeros(1, 2, 2, dtype=dtype),
        'goal': there,
        'limits': limits(),
        'previous_action': torch.zeros(2, dtype=dtype),
        'safe_action': torch.zeros(2, dtype=dtype),
    }
    return Problem(**{**values, **changes})
