# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model type of your own, in one file: copy it, and put your network in the place of this one.

With this folder on PYTHONPATH, any command and the node (model.path) take it by name:

    grasp-ros evaluate --model 'python:example_model:make?weights=trained.safetensors' ...
"""

import torch
from safetensors.torch import load_file
from torch import nn

from grasp_ros.world_models import base

# What the controller must know. Two model steps of history, five control steps in each of them.
CARD = base.ModelCard(
    name='example',
    architecture={'type': 'example'},  # for the reader: this file builds the model
    cameras={'front': base.CameraSpec(height=64, width=64)},
    actions=(  # in the order of the network's inputs; outside these bounds nothing is sent
        base.ActionSpec('linear.x', 'm/s', -0.3, 0.3),
        base.ActionSpec('linear.y', 'm/s', -0.3, 0.3),
    ),
    latent_shape=(16, 24),  # 16 patches, 24 numbers each
    model_step_sec=0.5,  # what one prediction spans
    action_block=5,  # so a command every 0.1 s
    history=2,
    latent_scale=1.0,  # root mean square of your latents about their mean
    goal_tolerance=0.05,  # the cost below at which a goal counts as reached
)


class YourNetwork(nn.Module):
    """As it came from training: patches to tokens, tokens and actions to the next tokens."""

    def __init__(self, tokens: int, width: int, inputs: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, kernel_size=16, stride=16)
        self.norm = nn.LayerNorm(width)
        self.push = nn.Linear(inputs, width)
        self.mixer = nn.Linear(2 * tokens, tokens)

    def tokens(self, pixels):
        return self.norm(self.patches(pixels).flatten(2).transpose(1, 2))

    def step(self, before, now, action):
        mixed = self.mixer(torch.cat((before, now), dim=1).transpose(1, 2)).transpose(1, 2)
        return self.norm(now + mixed + self.push(action).unsqueeze(1))


class Example(base.LatentModel):
    """Pictures and actions in the card's units to what the network was trained on, and back."""

    def __init__(self) -> None:
        super().__init__(CARD)
        tokens, width = CARD.latent_shape
        self.network = YourNetwork(tokens, width, CARD.action_block * CARD.action_size)

    def encode(self, observation):
        observation.check(CARD)  # uint8 [N, frames, height, width, 3], rgb
        pixels = observation.images['front'][:, -1].permute(0, 3, 1, 2) / 255
        return self.network.tokens(pixels)

    def predict(self, context, actions):
        block = actions[:, -1].flatten(1) / 0.3  # [N, k A], as in training
        return self.network.step(context[:, -2], context[:, -1], block)

    def project(self, latent):  # where the encoder's latents lie, if you know; else leave it out
        return base.onto_layer_norm(latent, self.network.norm)


def make(weights: str = '') -> Example:
    """What `python:example_model:make` calls; without weights they are random."""
    model = Example()
    if weights:
        model.network.load_state_dict(load_file(weights))
    return model
