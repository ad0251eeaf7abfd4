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
``ctxt_window``. A predictor that takes proprioception has it as a part of every token. A pose
that upstream integrates from the actions, outside the network, is one more token behind the
patches, with zeros behind its numbers; it is integrated here as there (:func:`moved_pose`).

Written against commit 6eafb148 (CC BY-NC 4.0, of which nothing is contained here).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grasp_ros.world_models.base import LatentModel, ModelCard, Observation

POSE = 7  # numbers of it: place, Euler angles, gripper


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
        predicted = inside and model.proprio_mode == 'predict_proprio'
        is_pose = world.proprio_encoder_inpred and model.proprio_mode == 'compute_new_pose'
        if world.use_proprio and not (predicted or is_pose):
            raise ValueError('proprioception as a token of its own that the network predicts is '
                             'not supported')
        self._has_pose = bool(world.use_proprio and is_pose)
        if len(card.latent_shape) != 2:
            raise ValueError('latent_shape must be [patches, entries of each], is '
                             f'{list(card.latent_shape)}')
        tokens, width = card.latent_shape
        if self._has_pose:
            if (world.action_dim, len(card.proprioception)) != (POSE, POSE):
                raise ValueError(f'a pose and its change are {POSE} numbers each: place, Euler '
                                 'angles, gripper; one control step in a model step')
            shape = (world.grid_size**2 + 1, width)
            if card.latent_shape != shape or width < POSE:
                raise ValueError(f'latent_shape must be {list(shape)}, the pose behind the '
                                 f'patches, is {list(card.latent_shape)}')
        sensed = world.proprio_encoder.embed_dim if world.use_proprio and predicted else 0
        pixels = width - sensed
        if pixels < 1:
            raise ValueError(f'latent_shape has {width} entries a patch, and {sensed} of them are '
                             'those of the proprioception')
        weights = torch.full((tokens, width), width / pixels)
        if sensed:
            weights[:, pixels:] = alpha * width / sensed
        if self._has_pose:
            weights[:-1] = tokens / (tokens - 1)
            weights[-1] = 0.0
            weights[-1, :POSE] = alpha * tokens * width / POSE
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
        patches = latent['visual'][:, 0].flatten(1, 3)
        if self._has_pose:
            return _with_pose(patches, latent['proprio'][:, 0])
        return torch.cat((patches, latent['proprio'][:, 0]), dim=-1)

    def predict(self, context: Tensor, actions: Tensor) -> Tensor:
        world = self.network.model
        grid = world.grid_size
        blocks = ((actions - self._action_mean) / self._action_std).flatten(2)
        if self._has_pose:
            seen = context[:, :, :-1].unflatten(2, (1, grid, grid))
            pose = context[:, :, -1, :POSE]
            after, _, _ = world.forward_pred(seen, world.encode_act(blocks), pose)
            following = moved_pose(pose[:, -1], blocks[:, -1])
            return _with_pose(after[:, -1].flatten(1, 3), following)
        seen = context[..., : self._pixels].unflatten(2, (1, grid, grid))
        sensed = context[..., self._pixels :] if self.card.proprioception else None
        after, _, felt = world.forward_pred(seen, world.encode_act(blocks), sensed)
        after = after[:, -1].flatten(1, 3)
        return after if felt is None else torch.cat((after, felt[:, -1]), dim=-1)

    @property
    def has_manifold(self) -> bool:
        return bool(self.network.normalize_reps)

    def project(self, latent: Tensor) -> Tensor:
        """Patches as they come from the layer norm that upstream has behind its encoder."""
        if not self.has_manifold:
            return latent
        patches = latent[:, :-1] if self._has_pose else latent
        normed = F.layer_norm(patches[..., : self._pixels], (self._pixels,))
        normed = torch.cat((normed, patches[..., self._pixels :]), dim=-1)
        return torch.cat((normed, latent[:, -1:]), dim=1) if self._has_pose else normed


def _with_pose(patches: Tensor, pose: Tensor) -> Tensor:
    """The pose as a last token, zeros behind it, ``[N, patches + 1, D]``."""
    token = F.pad(pose, (0, patches.shape[-1] - POSE))
    return torch.cat((patches, token.unsqueeze(1)), dim=1)


def moved_pose(pose: Tensor, change: Tensor) -> Tensor:
    """A pose after a change of it: upstream's ``compute_new_pose``, differentiable.

    Places add up, rotations are multiplied, the change from the left, and the gripper stays
    between open and closed.

    :param pose: ``[N, 7]``: x, y, z; Euler angles about the fixed axes x, y, z, rad; gripper
    :param change: ``[N, 7]``, of the same
    """
    # Not as a product of matrices, which half precision would take half the digits of.
    left, right = _matrix(change[:, 3:6]), _matrix(pose[:, 3:6])
    turn = (left.unsqueeze(-1) * right.unsqueeze(-3)).sum(dim=-2)
    level = torch.hypot(turn[:, 2, 1], turn[:, 2, 2])
    angles = torch.stack((
        torch.atan2(turn[:, 2, 1], turn[:, 2, 2]), torch.atan2(-turn[:, 2, 0], level),
        torch.atan2(turn[:, 1, 0], turn[:, 0, 0]),
    ), dim=1)  # fmt: skip
    gripper = (pose[:, 6:] + change[:, 6:]).clamp(0, 1)
    return torch.cat((pose[:, :3] + change[:, :3], angles, gripper), dim=1)


def _matrix(angles: Tensor) -> Tensor:
    """Rotation matrices of Euler angles about fixed axes, ``[N, 3]`` to ``[N, 3, 3]``."""
    (sx, sy, sz), (cx, cy, cz) = angles.sin().unbind(1), angles.cos().unbind(1)
    rows = (
        cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz,
        cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz,
        -sy, sx * cy, cx * cy,
    )  # fmt: skip
    return torch.stack(rows, dim=1).unflatten(1, (3, 3))
