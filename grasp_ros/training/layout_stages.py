# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The stages that train encoder and predictor where walls differ from layout to layout."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from grasp_ros.training.stages import SHARP, EncoderStage, FreshPredictorStage, vicreg
from grasp_ros.world_models.jepa import Predictor

_EMPTY_STRIDE = 23  # of the frames whose median is the empty picture
_VISIBLE = 8  # of 255: a pixel that differs by more shows the robot


class LayoutEncoderStage(EncoderStage):
    """The same for walls that differ from layout to layout: z for the robot, w for the walls.

    Windows come from several layouts, several from each. Every step has to move z by its command.
    Where a wall stops the robot that is wrong by as much for any z, so z, of as many entries as a
    command, becomes the floor up to a shift, on which straight lines mean something. (VICReg alone
    gave a z that tells rooms apart and little else: that has variance and is easy to predict. An
    absolute instead of a squared error let the rooms lie anywhere: few steps go through a gap.)
    The robot of one frame is also pasted into the empty picture of another training layout: z has
    to be the same there, so that it is one floor for all layouts, with new ones among them.
    w has to be the same for all frames of a layout, and to differ between layouts, its entries
    without correlation: with little of that asked for, w told one of two walls in all of them.
    """

    commanded, pasted, same_walls = 100.0, 20.0, 1.0
    reach = 1 / 8.6
    """What a step at full command moves z by; a place on the floor has a deviation of 8.6 such
    steps, z one of 1."""

    def trained(self) -> Iterable[str]:
        return *super().trained(), 'static_head'

    def prepare(self) -> None:
        layouts, images = self.data.layouts, self.data.images
        self._walks = [torch.nonzero(layouts == layout).flatten() for layout in layouts.unique()]
        # The robot is nowhere in most of the frames, so their median does not show it.
        self._empty = torch.stack([images[own].flatten(0, 1)[::_EMPTY_STRIDE].median(dim=0).values
                                   for own in self._walks])

    def loss(self, step: int, random: np.random.Generator) -> Tensor:
        networks, config = self.networks, self.config
        count = min(config.encoder_layouts, len(self._walks))
        chosen = random.choice(len(self._walks), count, replace=False)
        each = config.encoder_batch // count
        walk = torch.cat([own[torch.from_numpy(random.integers(0, len(own), each))]
                          for own in (self._walks[index] for index in chosen)])[:, None]
        first = random.integers(0, self.data.images.shape[1] - config.encoder_rollout,
                                (len(walk), 1))
        frame = torch.from_numpy(first) + torch.arange(config.encoder_rollout + 1)
        images, actions = self.data.images[walk, frame], self.data.actions[walk, frame[:, :-1]]
        here = torch.from_numpy(chosen).repeat_interleave(each)
        elsewhere = paste(images[:, 0], self._empty[here], self._empty[here.roll(each)])
        features = networks['encoder'](torch.cat((images.flatten(0, 1), elsewhere)))
        there = networks['plain_head'](features[-len(elsewhere):])
        windows = networks.latents(features[: -len(elsewhere)].view(*frame.shape, -1), 'plain')
        predicted = networks['plain_predictor'].rollout(windows[:, 0], actions)
        places = networks.places(windows)
        error = (networks.places(predicted) - places[:, 1:]).square().mean()
        moved = places.diff(dim=1) - self.reach * actions / networks.action_scale
        walls = windows[..., -networks.static_size:].reshape(count, -1, networks.static_size)
        means = walls.mean(dim=1, keepdim=True)
        return (error + self.commanded * moved.square().mean()
                + self.pasted * (there - places[:, 0]).square().mean()
                + self.same_walls * (walls - means).square().mean()
                + vicreg(means[:, 0], correlated=1.0))


class LayoutPredictorStage(FreshPredictorStage):
    """The same for walls that differ, with commands that lead straight on.

    The predictor that was trained with the encoder is no start: from it, its commands' lead still
    to be learned, more than twice the steps ended several times as far off.
    """

    sharp = SHARP

    def _start(self, fresh: Predictor) -> None:
        step = LayoutEncoderStage.reach / self.networks.action_scale
        fresh.straight.weight.copy_(step * torch.eye(2))


def paste(images: Tensor, empty: Tensor, others: Tensor) -> Tensor:
    """Pictures of empty rooms with the robots of other pictures; all uint8 ``[N, h, w, 3]``.

    :param images: with the robot
    :param empty: the same without it
    :param others: to paste it into
    """
    differs = (images.short() - empty.short()).abs().amax(dim=-1, keepdim=True)
    return torch.where(differs > _VISIBLE, images, others)
