# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether what is seen can still be trusted, judged by what was foreseen.

Two things stop the robot, each after several frames in a row, until there is another goal:

- the picture stays the same to the last bit although the model says that the robot moves: a camera
  that repeats itself with fresh stamps, or a cover with nothing on it. A robot that stands still
  in a simulator gives such pictures too, so the model has to say that it does not, and by well
  more than what a picture can hide;
- the innovation, what is seen against what was foreseen, stays large: a covered lens, a moved
  camera, a world that the model does not know. A kick is one frame.

Both take the commands for followed. Nodes that have just started may not have found each other:
commands are sent and reach nobody, and a good camera shows a robot that stands. So until the robot
has been seen to move when it should, frames that show it standing count for a part of one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grasp_ros.control.config import ControllerConfig
from grasp_ros.control.history import Frame
from grasp_ros.control.tick import TickStatus
from grasp_ros.world_models.base import WorldModel

_WELL_ABOVE = 2.0  # times the motion that a picture can hide: 1.4 times as far
PATIENCE = 4
"""So many frames of a robot that stands count as one, until it has been seen to move."""


@dataclass(frozen=True)
class Stop:
    """Why the robot must stand.

    :param status: one of the safe ones
    :param detail: the numbers that explain it
    """

    status: TickStatus
    detail: str


class Sight:
    """Follows frames from one goal to the next; ``stop`` is None as long as all is well.

    :param model: whose card has the limits; one that is 0 is not watched
    """

    def __init__(self, model: WorldModel) -> None:
        self.stop: Stop | None = None
        self._model = model
        self._frame: Frame | None = None
        self._alike = self._unforeseen = 0.0  # frames in a row
        self._has_followed = False

    def start_over(self) -> None:
        """Judge anew, for another goal; the robot that followed commands goes on to do so."""
        self.stop = None
        self._alike = self._unforeseen = 0.0

    def doubt(self) -> None:
        """Commands did not reach the robot, or no picture came: wait until it follows again."""
        self._alike = self._unforeseen = 0.0
        self._has_followed = False

    def look(
        self, frame: Frame, config: ControllerConfig, *, seen: Tensor, foreseen: Tensor | None,
        before: Tensor | None,
    ) -> float | None:  # fmt: skip
        """Take a new frame into account.

        :param config: which innovation is large, and how many frames in a row are too many
        :param seen: its latent, ``[*latent]``
        :param foreseen: the one that was foreseen; None where none was: then nothing is judged
        :param before: the one of the frame before, or None
        :return: the innovation, :meth:`WorldModel.cost` between seen and foreseen
        """
        is_repeated = self._frame is not None and _is_repeated(self._frame, frame)
        self._frame = frame
        if not is_repeated:
            self._alike = 0.0
        if foreseen is None:
            return None
        # All at once: each that is asked of a GPU for itself has to be waited for.
        latents = (seen, foreseen)
        if before is not None:
            latents = (seen, before, before, foreseen, foreseen, seen)
        innovation, *moves = self._model.run(_apart, *latents).tolist()
        least = _WELL_ABOVE * self._model.card.motion_limit
        should_move, has_moved = (move > least for move in moves or (0.0, 0.0))
        has_moved &= not is_repeated
        self._has_followed |= should_move and has_moved
        weight = 1.0 if self._has_followed or has_moved else 1.0 / PATIENCE
        if is_repeated and should_move and self._model.card.motion_limit:
            self._alike += weight
        limit = self._limit(config)
        self._unforeseen = self._unforeseen + weight if 0 < limit < innovation else 0.0
        if self.stop is None and 0 < config.frozen_frames <= self._alike:
            self.stop = Stop(TickStatus.FROZEN_IMAGE, f'{self._alike:.0f} moves without a change')
        elif self.stop is None and 0 < config.unforeseen_frames <= self._unforeseen:
            numbers = f'innovation {innovation:.3g} is above {limit:.3g}'
            self.stop = Stop(
                TickStatus.UNFORESEEN, f'{numbers}, and so for {self._unforeseen:.0f} frames'
            )
        return innovation

    def is_elsewhere(self, innovation: float | None, config: ControllerConfig) -> bool:
        """Whether an innovation is so large that nothing which was foreseen is of use any more."""
        limit = config.drop_innovation * self._limit(config)
        return innovation is not None and 0 < limit < innovation

    def _limit(self, config: ControllerConfig) -> float:
        return config.innovation_limit or self._model.card.innovation_limit


def _apart(model: WorldModel, *latents: Tensor) -> Tensor:
    """Costs between the first half of some latents and the second."""
    first, second = torch.stack(latents).chunk(2)
    return model.cost(first, second)


def _is_repeated(first: Frame, second: Frame) -> bool:
    return all(
        np.array_equal(image, second.images[name]) for name, image in first.images.items()
    )
