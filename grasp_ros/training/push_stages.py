# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The stage that trains the encoder where the robot pushes a block about."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from grasp_ros.training.stages import EncoderStage, vicreg


class PushEncoderStage(EncoderStage):
    """Encoder and a plain predictor jointly, from the places of colours.

    Of an error it counts which part that is of the motion: by its square alone what hardly ever
    moves is foreseen best, and the turn of the block, which a push changes most, was left out of
    the latent. (So it was with convolutions, whatever the loss: their features are no places, and
    functions of the places that a latent has already served as well as new ones.)
    Every step has to move the first entries of z, as many as a command has, by that command: they
    become the robot's place.
    """

    commanded, varied = 10.0, 3.0
    reach = 1 / 8.6
    """What a step at full command moves them by, as in
    :class:`~grasp_ros.training.layout_stages.LayoutEncoderStage`."""
    _first_walks, _rank = 60, 0.03

    @torch.no_grad()
    def begin(self) -> None:
        """Start the head with what least squares finds in the features of an untrained encoder.

        Its first entries are what commands move; the others the largest parts, without
        correlation, of what these leave. From a random head the two took a place in each other's
        way for thousands of steps.
        """
        networks, config = self.networks, self.config
        images, actions = self.data.images[: self._first_walks], self.data.actions
        actions = self.reach * actions[: self._first_walks] / networks.action_scale
        size = actions.shape[-1]
        centres = torch.cat([networks['encoder'].centres(walk) for walk in images])
        moves = centres.view(*images.shape[:2], -1).diff(dim=1).flatten(0, 1)
        first = torch.linalg.pinv(moves, rtol=self._rank) @ actions.flatten(0, 1)
        centred = centres - centres.mean(dim=0)
        own = centred @ first
        left = centred - own @ torch.linalg.lstsq(own, centred).solution
        _, _, parts = torch.linalg.svd(left, full_matrices=False)
        others = parts[: config.plain_size - size].t()
        # What the first entries explain of the centres has no part in the others.
        others = others - first @ torch.linalg.lstsq(own, centred @ others).solution
        others = others / (centred @ others).std(dim=0)
        head = networks['plain_head']
        head.weight.copy_(torch.cat((first, others), dim=1).t() * centres.std(dim=0))
        head.bias.zero_()

    def loss(self, step: int, random: np.random.Generator) -> Tensor:
        networks, config = self.networks, self.config
        walk, frame = self._windows(random, config.encoder_batch, config.encoder_rollout)
        features = networks['encoder'](self.data.images[walk, frame].flatten(0, 1))
        latents = networks.latents(features.view(*frame.shape, -1), 'plain')
        actions = self.data.actions[walk, frame[:, :-1]]
        after = latents[:, 1:]
        error = networks['plain_predictor'].rollout(latents[:, 0], actions) - after
        parts = [values.square().mean(dim=(0, 1)) for values in (error, after - latents[:, :1])]
        size = actions.shape[-1]
        moved = latents[..., :size].diff(dim=1) - self.reach * actions / networks.action_scale
        return ((parts[0] / (parts[1] + 1e-3)).mean()
                + self.commanded * moved.square().mean()
                + self.varied * vicreg(latents.flatten(0, 1), correlated=1.0))
