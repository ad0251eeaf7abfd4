# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the robot saw and did, as far back as the world model looks.

Everything is indexed by the *control step*, a counter that runs with the frames' stamps. The model
looks back in model steps, k control steps apart. Where the past is missing (after a start, or when
frames were dropped) the next older entry stands in, then the oldest there is; before the first
command the robot stood still.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grasp_ros.errors import ObservationError
from grasp_ros.world_models.base import ModelCard, Observation


@dataclass(frozen=True)
class Frame:
    """One instant of the sensors.

    :param images: camera name -> uint8 ``[height, width, 3]``, rgb
    :param stamp_sec: time of exposure, seconds, on the clock that the controller is asked with
    :param proprioception: float ``[P]``, or None when the card lists none
    """

    images: Mapping[str, np.ndarray]
    stamp_sec: float
    proprioception: np.ndarray | None = None


class History:
    """Past frames, latents and commands.

    :param card: tells how far back to remember
    :param safe_action: ``[A]``, stands in for commands before the first one
    """

    def __init__(self, card: ModelCard, safe_action: np.ndarray) -> None:
        self._card = card
        self._safe_action = np.asarray(safe_action, dtype=np.float64)
        block = card.action_block
        self._frames: deque[tuple[int, Frame]] = deque(maxlen=(card.frames - 1) * block + 1)
        self._latents: deque[tuple[int, Tensor]] = deque(maxlen=(card.history - 1) * block + 1)
        span = max(card.frames, card.history) * block
        self._actions: deque[tuple[int, np.ndarray]] = deque(maxlen=span)

    def add_action(self, step: int, action: np.ndarray) -> None:
        """Remember the command that was sent at a control step."""
        self._actions.append((step, np.array(action, dtype=np.float64)))

    def add_latent(self, step: int, latent: Tensor) -> None:
        """Remember the latent of a control step, ``[*latent]``."""
        self._latents.append((step, latent))

    def observe(self, step: int, frame: Frame, device: torch.device) -> Observation:
        """Remember a frame and give the encoder's input for it, with N = 1.

        :raises ObservationError: when the frame does not fit the card; it is then forgotten
        """
        card = self._card
        self._frames.append((step, frame))
        try:
            observation = self._observation(step, device)
            observation.check(card)
        except (ObservationError, ValueError, TypeError, KeyError) as error:
            self._frames.pop()
            if isinstance(error, ObservationError):
                raise
            raise ObservationError(f'frames do not fit together: {error}') from error
        return observation

    def context(self, step: int) -> Tensor:
        """The predictor's context at a control step, ``[H, *latent]``, oldest first."""
        block = self._card.action_block
        wanted = (step - block * back for back in range(self._card.history - 1, -1, -1))
        return torch.stack([_at(self._latents, n) for n in wanted])

    def past_actions(self, step: int, blocks: int, device: torch.device) -> Tensor:
        """The last blocks before a control step, ``[blocks, k, A]``, oldest first."""
        block = self._card.action_block
        if not blocks:
            return torch.zeros((0, block, self._card.action_size), device=device)
        steps = range(step - blocks * block, step)
        sent = [self._action_at(n) for n in steps]
        flat = np.array(sent, dtype=np.float32).reshape(blocks, block, self._card.action_size)
        return torch.from_numpy(flat).to(device)

    @property
    def last_action(self) -> np.ndarray:
        """``[A]``, the last command, or the safe one before any was sent."""
        return self._actions[-1][1] if self._actions else self._safe_action

    def _action_at(self, step: int) -> np.ndarray:
        # A command stays in force until the next one: the robot's driver holds it.
        held = self._safe_action
        for n, action in self._actions:
            if n > step:
                break
            held = action
        return held

    def _observation(self, step: int, device: torch.device) -> Observation:
        card = self._card
        wanted = (step - card.action_block * back for back in range(card.frames - 1, -1, -1))
        frames = [_at(self._frames, n) for n in wanted]
        cameras = set(frames[-1].images)
        images = {
            name: torch.from_numpy(np.stack([frame.images[name] for frame in frames])[None])
            for name in cameras
        }
        proprioception = None
        if card.proprioception:
            if frames[-1].proprioception is None:
                raise ObservationError('the model needs proprioception, the frame has none')
            signal = np.array([frame.proprioception for frame in frames], dtype=np.float32)
            proprioception = torch.from_numpy(signal[None]).to(device)
        actions = None
        if card.frames > 1:
            actions = self.past_actions(step, card.frames - 1, device).unsqueeze(0)
        return Observation(
            images={name: image.to(device) for name, image in images.items()},
            proprioception=proprioception,
            actions=actions,
        )


def _at(entries: deque, step: int):
    """Newest entry that is not newer than ``step``, else the oldest."""
    chosen = entries[0][1]
    for n, value in entries:
        if n > step:
            break
        chosen = value
    return chosen
