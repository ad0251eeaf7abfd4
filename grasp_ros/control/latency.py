# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the robot will be like when a command takes effect, and what is seen instead.

Until the command of a tick takes effect, those are in force that were sent before. So the latent
of the frame is rolled forward over the latency with them, and the plan begins where its first
action takes effect, not where the robot was seen. The whole model steps of the latency are
predictions; for the rest the last command is held, and the latent lies on the line between two
predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grasp_ros.control.history import History
from grasp_ros.world_models.base import WorldModel


@dataclass(frozen=True)
class Ahead:
    """What the model foresees for the moment at which a command takes effect.

    :param step: control step of the frame
    :param lead: control steps from there to that moment
    :param context: the predictor's context then, ``[H, *latent]``, oldest first
    :param past_actions: the blocks that lead to it, ``[H - 1, k, A]``
    :param on_the_way: latents one, two, … whole model steps after the frame, ``[M, *latent]``
    """

    step: int
    lead: float
    context: Tensor
    past_actions: Tensor
    on_the_way: Tensor


@torch.no_grad()
def look_ahead(model: WorldModel, history: History, *, step: int, lead: float) -> Ahead:
    """Roll what was seen forward with the commands that were sent.

    The cost depends on the lead alone: one predictor call for each model step of it.

    :param step: control step of the frame
    :param lead: control steps from there
    """
    card = model.card
    past, block = card.history - 1, card.action_block
    context = history.context(step)
    first = step - past * block
    if not lead:
        blocks = history.blocks(first, past, model.device)
        return Ahead(step, lead, context, blocks, context[:0])
    whole, part = divmod(lead, block)
    whole, predictions = int(whole), int(whole) + (part > 0)
    blocks = history.blocks(first, past + predictions, model.device)
    predicted = model.rollout(context.unsqueeze(0), blocks.unsqueeze(0))[0]
    latents = torch.cat((context, predicted))
    there = latents[whole : whole + card.history]
    if part:
        following = latents[whole + 1 : whole + 1 + card.history]
        there = torch.lerp(there, following, part / block)
    past_actions = history.blocks(first + lead, past, model.device)
    return Ahead(step, lead, there, past_actions, predicted[:whole])


@dataclass(frozen=True)
class Foresight:
    """What was foreseen when a plan was put in force, to be compared with what is seen.

    :param ahead: what the plan begins with
    :param rollout: its s_1 … s_T, ``[T, *latent]``
    :param block: k
    """

    ahead: Ahead
    rollout: Tensor
    block: int

    def at(self, step: int) -> Tensor | None:
        """The latent of a control step, ``[*latent]``; None within a model step or too far off."""
        ahead, rollout = self.ahead, self.rollout
        elapsed, rest = divmod(step - ahead.step, self.block)
        if rest or elapsed < 1:
            return None
        if elapsed <= len(ahead.on_the_way):
            return ahead.on_the_way[elapsed - 1]
        whole, part = divmod(elapsed - ahead.lead / self.block, 1.0)
        whole = int(whole)
        if whole + (part > 0) > len(rollout):
            return None
        before = rollout[whole - 1] if whole else ahead.context[-1]
        return torch.lerp(before, rollout[whole], part) if part else before
