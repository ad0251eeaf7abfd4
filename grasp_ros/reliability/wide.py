# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A shipped model behind a camera with more pixels than it was trained on, to see what they cost.

A picture of the world is enlarged by the largest whole number that fits and stands in the middle
of a grey one; the model takes a pixel of each block. So it sees what it was trained on, and DDS
and the controller carry as many bytes as of a real camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from grasp_ros.errors import ConfigError
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import CameraSpec, LatentModel, Observation

GREY = 128
# All that a model does but for its encoder.
_SAME = (
    'predict', 'rollout', 'predict_with_vjp', 'rollout_with_vjp', 'cost', 'cost_gradient',
    'project', 'position',
)  # fmt: skip


@dataclass(frozen=True)
class Window:
    """Where in a large picture the small one is.

    :param large: size of the large picture, pixels
    :param small: of the small one
    :raises ConfigError: when it does not fit
    """

    large: CameraSpec
    small: CameraSpec

    def __post_init__(self) -> None:
        if not self.factor:
            raise ConfigError(
                f'a picture of {self.large.width}x{self.large.height} pixels is smaller than the '
                f"model's, {self.small.width}x{self.small.height}"
            )

    @property
    def factor(self) -> int:
        """Pixels of a block's side."""
        return min(self.large.height // self.small.height, self.large.width // self.small.width)

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the large picture."""
        sizes = (
            (self.large.height, self.small.height), (self.large.width, self.small.width)
        )  # fmt: skip
        begins = [(outer - self.factor * inner) // 2 for outer, inner in sizes]
        rows, columns = (
            slice(begin, begin + self.factor * inner)
            for begin, (_, inner) in zip(begins, sizes, strict=True)
        )
        return rows, columns

    def enlarge(self, picture: np.ndarray) -> np.ndarray:
        """The large picture: uint8 ``[height, width, 3]`` of a small one."""
        large = np.full((self.large.height, self.large.width, 3), GREY, np.uint8)
        large[self.place] = picture.repeat(self.factor, axis=0).repeat(self.factor, axis=1)
        return large

    def shrink(self, pictures: Tensor) -> Tensor:
        """Small pictures ``[..., height, width, 3]`` of large ones."""
        rows, columns = self.place
        return pictures[..., rows, columns, :][..., :: self.factor, :: self.factor, :]


class WideModel(LatentModel):
    """A model of one camera whose pictures have another size.

    :param model: that sees the small pictures
    :param size: of the large ones
    :raises ConfigError: when the small picture does not fit
    """

    def __init__(self, model: LatentModel, size: CameraSpec) -> None:
        ((camera, small),) = model.card.cameras.items()
        super().__init__(replace(model.card, cameras={camera: size}))
        self.model = model
        self.window = Window(size, small)
        for name in _SAME:
            setattr(self, name, getattr(model, name))

    def encode(self, observation: Observation) -> Tensor:
        """Latents of what the camera saw, ``[N, *latent]``."""
        observation.check(self.card)
        small: Mapping[str, Tensor] = {
            name: self.window.shrink(images) for name, images in observation.images.items()
        }
        return self.model.encode(replace(observation, images=small))


def make(model: str, height: str, width: str) -> WideModel:
    """What ``python:grasp_ros.reliability.wide:make?model=two_rooms&height=720&width=1280`` is."""
    with torch.no_grad():
        return WideModel(checkpoint.load(model), CameraSpec(int(height), int(width)))
