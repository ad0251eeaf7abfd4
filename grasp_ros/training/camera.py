# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras that see otherwise than in training, or go wrong in the middle of an episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from grasp_ros.sim.world import DiscWorld

_MOVED = 0.1  # of the picture
_DARK = 12  # grey levels of the noise under a cover
KINDS = ('frozen', 'covered', 'covered, with noise', 'moved right', 'moved up')


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(factor))


def hue(image: np.ndarray, degrees: float) -> np.ndarray:
    hsv = np.array(Image.fromarray(image).convert('HSV'))
    hsv[..., 0] += np.int8(round(degrees / 360 * 256)).astype(np.uint8)  # a circle of 256
    return np.asarray(Image.fromarray(hsv, mode='HSV').convert('RGB'))


def blur(image: np.ndarray, pixels: float) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(pixels)))


def moved(image: np.ndarray, right: int, down: int) -> np.ndarray:
    """The picture moved by so many pixels; at the edge that it leaves, its border goes on."""
    height, width = image.shape[:2]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return image[rows[:, None], columns]


SHIFTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    'darker': partial(brightness, factor=0.8),
    'brighter': partial(brightness, factor=1.2),
    'hue-10': partial(hue, degrees=-10),
    'hue+10': partial(hue, degrees=10),
    'blurred': partial(blur, pixels=1.0),
    'left': partial(moved, right=-2, down=0),
    'right': partial(moved, right=2, down=0),
    'up': partial(moved, right=0, down=-2),
    'down': partial(moved, right=0, down=2),
}
"""Name -> what a camera that sees otherwise makes of a picture, uint8 ``[size, size, 3]``, rgb."""


@dataclass(frozen=True)
class CameraFault:
    """What goes wrong and when.

    :param kind: one of :data:`KINDS`
    :param tick: from which on
    """

    kind: str
    tick: int


class Camera:
    """The camera of a world, for one episode.

    :param world: that it sees
    :param fault: that it gets, or None
    :param seed: of its noise
    :param shift: how it sees otherwise than in training, one of :data:`SHIFTS`; empty if it does
        not
    """

    def __init__(
        self, world: DiscWorld, fault: CameraFault | None, seed: tuple[int, int], shift: str = ''
    ) -> None:
        self._world = world
        self._shift = SHIFTS[shift] if shift else np.asarray
        self._fault = fault
        self._random = np.random.default_rng((*seed, 1))
        self._last: np.ndarray | None = None

    def picture(self, tick: int) -> np.ndarray:
        """What is delivered in a tick, uint8 ``[size, size, 3]``."""
        image = self._shift(self._world.render())
        if self._fault is not None and tick >= self._fault.tick:
            image = self._spoilt(image)
        self._last = image
        return image

    def picture_at(self, state: tuple[float, ...]) -> np.ndarray:
        """What it would see in a state, :attr:`DiscWorld.state`; uint8 ``[size, size, 3]``."""
        return self._shift(self._world.render_at(*state))

    def _spoilt(self, image: np.ndarray) -> np.ndarray:
        kind, pixels = self._fault.kind, round(_MOVED * len(image))
        if kind == 'frozen':
            return image if self._last is None else self._last
        if kind == 'covered':
            return np.zeros_like(image)
        if kind == 'covered, with noise':
            return self._random.integers(0, _DARK, image.shape).astype(np.uint8)
        if kind == 'moved right':
            return moved(image, right=pixels, down=0)
        return moved(image, right=0, down=-pixels)
