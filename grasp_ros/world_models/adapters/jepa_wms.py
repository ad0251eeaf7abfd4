# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models of facebookresearch/jepa-wms: JEPA-WM, DINO-WM and V-JEPA 2-AC as its hub gives them.

Those come as Python from a clone, and as pickles; so they are loaded in a function of the user's,
which ends with :class:`JepaWm`::

    def make(clone, name='jepa_wm_droid', card='card.json'):
        model, preprocessor = torch.hub.load(clone, name, source='local', device='cpu')
        return JepaWm(ModelCard.from_dict(json.loads(Path(card).read_text())), model, preprocessor)

and named as ``python:module:make?clone=...``. It runs on the device that it was loaded on. The
card has one camera, a latent of grid x grid tokens, and a history of at most upstream's
``ctxt_window``. A predictor that takes proprioception has it as a part of every token; a pose that
upstream integrates from the actions, outside the network, is not supported.

Written against commit 6eafb148 (CC BY-NC 4.0, of which nothing is contained here).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from grasp_ros.world_models.base import LatentModel, ModelCard, Observation


class JepaWm(LatentModel):
    """Their ``EncPredWM`` and ``Preprocessor`` behind the contract.

    The cost is their L2 objective: the mean over all entries of the picture, and ``alpha`` times
    that over the embedding of the proprioception.

    :param card: of the model
    :param model: upstream's ``EncPredWM``
    :param preprocessor: upstream's, which knows how actions were normalised
    :param alpha: weight of the proprioception in the cost
    :raises ValueError: when card and model contradict each other, or the model is of a kind that
        is not supported
    """

    def __init__(
        self, card: ModelCard, model: nn.Module, preprocessor: Any, *, alpha: float = 0.1
    ) -> None:
        world = model.model
        if (len(card.cameras), card.frames) != (1, 1):
            raise ValueError('such a model has one camera and one frame a latent; the frames that '
                             'it looks back on are the history of the card')
        if card.history > model.ctxt_window:
            raise ValueError(f'history {card.history} is more than the {model.ctxt_window} of '
                             "upstream's ctxt_window")
        if world.action_dim != card.action_block * card.action_size:
            raise ValueError(
                f'action block {card.action_block} of {card.action_size} actions, but the model '
                f'takes {world.action_dim} numbers a step'
            )
        if world.use_proprio != bool(card.proprioception):
            raise ValueError('card and model do not agree on whether there is proprioception')
        inside = world.proprio_encoding == 'feature' and not world.proprio_encoder_inpred
        if world.use_proprio and not (inside and model.proprio_mode == 'predict_proprio'):
            raise ValueError('proprioception as a token of its own, or integrated from the '
                             'actions outside the network, is not supported')
        sensed = world.proprio_encoder.embed_dim if world.use_proprio else 0
        tokens, width = card.latent_shape
        pixels = width - sensed
        weights = torch.full((tokens, width), width / pixels)
        if sensed:
            weights[:, pixels:] = alpha * width / sensed
        super().__init__(card, weights=weights)
        self.network = model
        self._camera = next(iter(card.cameras))
        self._pixels = pixels
        for name in ('action_mean', 'action_std'):
            values = torch.as_tensor(getattr(preprocessor, name), dtype=torch.float32)
            self.register_buffer(f'_{name}', values, persistent=False)

    def encode(self, observation: Observation) -> Tensor:
        observation.check(self.card)
        seen = observation.images[self._camera].permute(0, 1, 4, 2, 3)
        if not self.card.proprioception:
            return self.network.encode(seen)[:, 0].flatten(1, 3)
        latent = self.network.encode({'visual': seen, 'proprio': observation.proprioception})
        return torch.cat((latent['visual'][:, 0].flatten(1, 3), latent['proprio'][:, 0]), dim=-1)

    def predict(self, context: Tensor, actions: Tensor) -> Tensor:
        world = self.network.model
        grid = world.grid_size
        blocks = ((actions - self._action_mean) / self._action_std).flatten(2)
        seen = context[..., : self._pixels].unflatten(2, (1, grid, grid))
        sensed = context[..., self._pixels :] if self.card.proprioception else None
        after, _, felt = world.forward_pred(seen, world.encode_act(blocks), sensed)
        after = after[:, -1].flatten(1, 3)
        return after if felt is None else torch.cat((after, felt[:, -1]), dim=-1)
