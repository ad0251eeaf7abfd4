# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the robot saw and did, as far back as the world model looks.

Everything is indexed by the *control step*, a counter that runs with the frames' stamps. Frames
lie on whole steps; commands take effect anywhere between them, and each holds until the next one
does. The model looks back in model steps, k control steps apart. Where the past is missing (after
a start, or when frames were dropped) the next older entry stands in, then the oldest there is;
before the first command the robot stood still.
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

_MOST_COMMANDS = 1000  # between two frames


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
        self._span = max(card.frames, card.history) * block
        # Those that no frame can need go as frames come; while none comes, the oldest do.
        most = _MOST_COMMANDS + self._span
        self._actions: deque[tuple[float, np.ndarray]] = deque(maxlen=most)

    def add_action(self, step: float, action: np.ndarray) -> None:
        """Remember a command that was sent, from the control step on at which it takes effect.

        None takes effect before one that was sent earlier; at the same step it replaces that one.
        """
        if self._actions and step <= self._actions[-1][0]:
            step, _ = self._actions.pop()
        self._actions.append((step, np.array(action, dtype=np.float64)))

    def add_latent(self, step: int, latent: Tensor) -> None:
        """Remember the latent of a control step, ``[*latent]``."""
        self._latents.append((step, latent))

    def observe(self, step: int, frame: Frame, device: torch.device) -> Observation:
        """Remember a frame and give the encoder's input for it, with N = 1.

        :raises ObservationError: when the frame does not fit the card; it is then forgotten
        """
        card, actions = self._card, self._actions
        while len(actions) > 1 and actions[1][0] <= step - self._span:
            actions.popleft()
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

    def forget_newest(self) -> None:
        """Forget the newest frame: nothing can be made of it."""
        self._frames.pop()

    def context(self, step: int) -> Tensor:
        """The predictor's context at a control step, ``[H, *latent]``, oldest first."""
        block = self._card.action_block
        wanted = (step - block * back for back in range(self._card.history - 1, -1, -1))
        return torch.stack([_at(self._latents, n) for n in wanted])

    def blocks(self, first: float, count: int, device: torch.device) -> Tensor:
        """The commands in force from a control step on, ``[count, k, A]``, oldest first.

        Where another one took effect within a step it is the mean over the step's time.
        """
        card = self._card
        if not count:  # the usual case, and on the way from frame to command
            return torch.zeros((0, card.action_block, card.action_size), device=device)
        steps = range(count * card.action_block)
        sent = [self._in_force(first + n) for n in steps]
        flat = np.array(sent, dtype=np.float32)
        shape = (count, card.action_block, card.action_size)
        return torch.from_numpy(flat.reshape(shape)).to(device)

    @property
    def newest_latent(self) -> Tensor | None:
        """``[*latent]``, of the newest frame; None before the first."""
        return self._latents[-1][1] if self._latents else None

    def _in_force(self, start: float) -> np.ndarray:
        """Mean command over the control step that begins at ``start``, ``[A]``."""
        held, since, total = self._safe_action, start, 0.0
        for at, action in self._actions:
            if at >= start + 1:
                break
            if at > since:
                total, since = total + (at - since) * held, at
            held = action
        return held if since == start else total + (start + 1 - since) * held

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
            past = card.frames - 1
            actions = self.blocks(step - past * card.action_block, past, device).unsqueeze(0)
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
