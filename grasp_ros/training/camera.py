# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras that go wrong in the middle of an episode, their stamps being fresh all the time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grasp_ros.sim.world import DiscWorld

_MOVED = 0.1  # of the picture
_DARK = 12  # grey levels of the noise under a cover
KINDS = ('frozen', 'covered', 'covered, with noise', 'moved right', 'moved up')


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
    """

    def __init__(self, world: DiscWorld, fault: CameraFault | None, seed: tuple[int, int]) -> None:
        self._world = world
        self._fault = fault
        self._random = np.random.default_rng((*seed, 1))
        self._last: np.ndarray | None = None

    def picture(self, tick: int) -> np.ndarray:
        """What is delivered in a tick, uint8 ``[size, size, 3]``."""
        image = self._world.render()
        if self._fault is not None and tick >= self._fault.tick:
            image = self._spoilt(image)
        self._last = image
        return image

    def _spoilt(self, image: np.ndarray) -> np.ndarray:
        kind, pixels = self._fault.kind, round(_MOVED * len(image))
        if kind == 'frozen':
            return image if self._last is None else self._last
        if kind == 'covered':
            return np.zeros_like(image)
        if kind == 'covered, with noise':
            return self._random.integers(0, _DARK, image.shape).astype(np.uint8)
        if kind == 'moved right':
            return np.pad(image, ((0, 0), (pixels, 0), (0, 0)), mode='edge')[:, :-pixels]
        return np.pad(image, ((0, pixels), (0, 0), (0, 0)), mode='edge')[pixels:]
