# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The stage that makes an encoder bear a camera that sees a little otherwise."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from grasp_ros.training.camera import blur, brightness, hue, moved
from grasp_ros.training.config import TrainingConfig
from grasp_ros.training.stages import Networks, Stage, TrainingData, encode_features

_MOVE, _HUE, _BRIGHTNESS, _BLUR = 3, 15.0, 0.3, 1.5
_JPEG = 70, 96
_BLURRED, _COMPRESSED = 0.5, 0.3


class ViewsStage(Stage):
    """The encoder alone: a picture that is seen otherwise gets the latents it had.

    The encoder as it was, on the clean picture, is the target: in the heads' latents, where what
    matters for control has its weight, and with a small weight in the features, which hold the
    rest together. (With the features alone, or with five times the learning rate, the encoder
    forgot most of what it knew.) The normalisation keeps its statistics, those of clean pictures.
    What is done to pictures grows over the first part of the stage.
    """

    name = 'views'
    growing, clean, features = 0.4, 0.25, 0.1

    def __init__(self, networks: Networks, data: TrainingData, config: TrainingConfig) -> None:
        super().__init__(networks, data, config)
        self.steps, self.rate = config.views_steps, 4e-4

    def trained(self) -> Iterable[str]:
        return ('encoder',)

    def begin(self) -> None:
        self.networks['encoder_target'].load_state_dict(self.networks['encoder'].state_dict())

    def prepare(self) -> None:
        networks, images = self.networks, self.data.images
        self._heads = [networks[name] for name in ('plain_head', 'metric_head')
                       if name in networks]
        self._targets = encode_features(networks, images, encoder='encoder_target').flatten(0, 1)
        self._images = images.flatten(0, 1)
        with torch.no_grad():
            wanted = self._aspects(self._targets)
        self._variances = [values.var(dim=0).mean() for values in wanted]

    def loss(self, step: int, random: np.random.Generator) -> Tensor:
        encoder, batch = self.networks['encoder'].eval(), self.config.views_batch
        rows = torch.from_numpy(random.integers(0, len(self._images), batch))
        strength = min(1.0, step / (self.growing * self.steps))
        pictures = self._images[rows].numpy().copy()
        for index in range(int(self.clean * batch), batch):
            pictures[index] = otherwise(pictures[index], random, strength)
        found = self._aspects(encoder(torch.from_numpy(pictures)))
        with torch.no_grad():
            wanted = self._aspects(self._targets[rows])
        *heads, features = [
            (seen - there).square().mean() / variance
            for seen, there, variance in zip(found, wanted, self._variances, strict=True)]
        return sum(heads) + self.features * features

    def _aspects(self, features: Tensor) -> list[Tensor]:
        return [*(head(features) for head in self._heads), features]


def otherwise(image: np.ndarray, random: np.random.Generator, strength: float) -> np.ndarray:
    """A picture as another camera, place of the camera, light or transport would show it.

    Wider than :data:`grasp_ros.training.camera.SHIFTS`, which it is judged by.

    :param image: uint8 ``[size, size, 3]``, rgb
    :param random: what is drawn from
    :param strength: 0 to 1, of everything but the compression
    :return: another of the same shape
    """
    right, down = np.rint(random.uniform(-_MOVE, _MOVE, 2) * strength).astype(int)
    image = moved(image, right, down)
    image = hue(image, random.uniform(-_HUE, _HUE) * strength)
    image = brightness(image, 1 + random.uniform(-_BRIGHTNESS, _BRIGHTNESS) * strength)
    if random.random() < _BLURRED:
        image = blur(image, random.uniform(0, _BLUR) * strength)
    if random.random() < _COMPRESSED:
        image = _as_jpeg(image, int(random.integers(*_JPEG)))
    return image


def _as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'JPEG', quality=quality)
    return np.asarray(Image.open(file).convert('RGB'))
