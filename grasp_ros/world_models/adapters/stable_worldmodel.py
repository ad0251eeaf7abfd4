# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models of the library stable-worldmodel: LeWM, PLDM and PreJEPA, its DINO-WM.

A checkpoint there is weights and a ``config.json``, which names classes and functions to build
the network from, as Hydra calls them. Here only those in :data:`CLASSES` and :data:`BACKBONES` are
ever called; the classes are the installed library's own, so what they compute is what was trained.

``card.architecture`` holds ``config`` (that JSON) and what the checkpoint does not hold because it
belongs to the data set: ``action_mean`` and ``action_std`` of the A actions, and where there are
any ``proprioception_mean`` and ``proprioception_std`` of the P signals, in the card's units.
Pictures are normalised as ImageNet's, as upstream does. ``history`` is at most the number of
frames that the predictor was made for. The camera delivers the size that was trained with.

Written against stable-worldmodel 0.1.1 (MIT); ``docs/models.md`` says what was compared with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from grasp_ros.errors import CheckpointError
from grasp_ros.world_models.base import LatentModel, ModelCard, Observation

_WM = 'stable_worldmodel.wm'
# What a configuration may name: a class of the library itself or of torch, nothing else.
CLASSES = frozenset({
    f'{_WM}.LeWM', f'{_WM}.lewm.LeWM', f'{_WM}.lewm.lewm.LeWM', f'{_WM}.lewm.module.Predictor',
    f'{_WM}.lewm.module.Embedder', f'{_WM}.lewm.module.MLP',
    f'{_WM}.pldm.pldm.PLDM', f'{_WM}.pldm.module.Predictor', f'{_WM}.pldm.module.Embedder',
    f'{_WM}.pldm.module.MLP',
    f'{_WM}.PreJEPA', f'{_WM}.prejepa.PreJEPA', f'{_WM}.prejepa.prejepa.PreJEPA',
    f'{_WM}.prejepa.module.CausalPredictor', f'{_WM}.prejepa.module.Embedder',
    'torch.nn.BatchNorm1d', 'torch.nn.Identity', 'torch.nn.LayerNorm', 'torch.nn.ModuleDict',
})  # fmt: skip
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Hidden size, layers, heads.
_VITS = {
    'tiny': (192, 12, 3), 'small': (384, 12, 6), 'base': (768, 12, 12), 'large': (1024, 24, 16),
    'huge': (1280, 32, 16),
}  # fmt: skip
# What transformers 4 calls parts of its encoders, and what transformers 5 does.
_RENAMED = (
    ('.attention.attention.query.', '.attention.q_proj.'),
    ('.attention.attention.key.', '.attention.k_proj.'),
    ('.attention.attention.value.', '.attention.v_proj.'),
    ('.attention.output.dense.', '.attention.o_proj.'),
    ('.intermediate.dense.', '.mlp.fc1.'),
    ('.output.dense.', '.mlp.fc2.'),
    ('.encoder.layer.', '.layers.'),
)
_DINOV2 = {'small': (384, 12, 6), 'base': (768, 12, 12), 'large': (1024, 24, 16)}


def build(card: ModelCard) -> LatentModel:
    """The network that a card describes, with random weights.

    :raises CheckpointError: when the library is missing, or the configuration names what is not
        known here
    :raises ValueError: when card and configuration contradict each other
    """
    network = _make(card.architecture['config'])
    if not isinstance(network, nn.Module) or not hasattr(network, 'predictor'):
        raise ValueError(f'config makes a {type(network).__name__}, not a world model')
    return _Split(card, network) if hasattr(network, 'extra_encoders') else _Flat(card, network)


class _Upstream(LatentModel):
    """What all of them share: one camera, one frame a latent, blocks of normalised actions."""

    def __init__(
        self, card: ModelCard, network: nn.Module, actions: nn.Module, *,
        weights: Tensor | None = None,
    ) -> None:
        super().__init__(card, weights=weights)
        if (len(card.cameras), card.frames) != (1, 1):
            raise ValueError('such a model has one camera and one frame a latent; the frames that '
                             'it looks back on are the history of the card')
        known = network.predictor.num_frames
        if card.history > known:
            raise ValueError(f'history {card.history} is more than the {known} frames of config')
        entries = actions.patch_embed.in_channels
        if entries != card.action_block * card.action_size:
            raise ValueError(
                f'action block {card.action_block} of {card.action_size} actions, but config '
                f'takes {entries} numbers a step'
            )
        self.network = network
        self._camera = next(iter(card.cameras))
        self._constant('_pixel_mean', IMAGENET_MEAN, 3, (3, 1, 1))
        self._constant('_pixel_std', IMAGENET_STD, 3, (3, 1, 1))
        for name in ('action_mean', 'action_std'):
            self._constant(f'_{name}', card.architecture[name], card.action_size)

    def load_state_dict(self, state_dict: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        """As ever, also where the weights were written with another version of transformers."""
        renamed = _as_named_here(state_dict, self.state_dict())
        return super().load_state_dict(renamed, *args, **kwargs)

    def _constant(
        self, name: str, values: Any, count: int, shape: tuple[int, ...] = (-1,)
    ) -> None:
        """Numbers of the card, which move with the model but are no weights."""
        tensor = torch.tensor(values, dtype=torch.float32)
        is_good = bool(torch.isfinite(tensor).all())
        is_good &= not name.endswith('_std') or bool((tensor > 0).all())
        if tensor.shape != (count,) or not is_good:
            raise ValueError(f'{name[1:]} must be {count} finite numbers, positive where they are '
                             f'deviations, is {values}')
        self.register_buffer(name, tensor.view(shape), persistent=False)

    def _pixels(self, observation: Observation) -> Tensor:
        """``[N, 1, 3, height, width]``, as upstream's transform leaves them."""
        observation.check(self.card)
        images = observation.images[self._camera].permute(0, 1, 4, 2, 3)
        return (images.to(torch.float32) / 255 - self._pixel_mean) / self._pixel_std

    def _blocks(self, actions: Tensor) -> Tensor:
        """``[N, H, k A]``, normalised, the k steps one after the other."""
        return ((actions - self._action_mean) / self._action_std).flatten(2)


class _Flat(_Upstream):
    """LeWM and PLDM: a latent is a vector."""

    def __init__(self, card: ModelCard, network: nn.Module) -> None:
        if card.proprioception:
            raise ValueError('config takes no proprioception: leave it out of the card')
        super().__init__(card, network, network.action_encoder)
        spec, known = card.cameras[self._camera], _picture_size(network.encoder)
        if known and (spec.height, spec.width) != (known, known):
            raise ValueError(
                f'camera of {spec.width}x{spec.height} pixels, but the encoder of config was '
                f'trained on {known}x{known}: it would take others, and see something else'
            )

    def encode(self, observation: Observation) -> Tensor:
        return self.network.encode({'pixels': self._pixels(observation)})['emb'][:, 0]

    def predict(self, context: Tensor, actions: Tensor) -> Tensor:
        blocks = self.network.action_encoder(self._blocks(actions))
        return self.network.predict(context, blocks)[:, -1]


def _picture_size(encoder: nn.Module) -> int | None:
    """That of :func:`_vit`; None where the encoder does not tell."""
    return getattr(getattr(encoder, 'config', None), 'image_size', None)


class _Split(_Upstream):
    """PreJEPA: a latent is patch tokens, each with an embedding of the proprioception behind it.

    The network's own tokens hold the action's embedding too. It is no part of the state: it is put
    in before a prediction and taken out after it.
    """

    def __init__(self, card: ModelCard, network: nn.Module) -> None:
        encoders = dict(network.extra_encoders.items())
        if 'action' not in encoders or len(card.latent_shape) != 2:
            raise ValueError('such a model has an encoder of actions and a latent of tokens')
        sizes = {name: encoder.emb_dim for name, encoder in encoders.items()}
        others = {name: size for name, size in sizes.items() if name != 'action'}
        pixels = card.latent_shape[1] - sum(others.values())
        super().__init__(
            card, network, encoders['action'],
            weights=_cost_weights(card.latent_shape, pixels, tuple(others.values())),
        )  # fmt: skip
        before = list(sizes)[: list(sizes).index('action')]
        self._start = pixels + sum(sizes[name] for name in before)
        self._inputs = {name: encoders[name].patch_embed.in_channels for name in others}
        signals = sum(self._inputs.values())
        if signals != len(card.proprioception):
            raise ValueError(f'{len(card.proprioception)} proprioceptive signals, config takes '
                             f'{signals} ({", ".join(self._inputs)})')
        if signals:
            for name in ('proprioception_mean', 'proprioception_std'):
                self._constant(f'_{name}', card.architecture[name], signals)

    def encode(self, observation: Observation) -> Tensor:
        info = {'pixels': self._pixels(observation)}
        if self._inputs:
            sensed = observation.proprioception - self._proprioception_mean
            parts = (sensed / self._proprioception_std).split(list(self._inputs.values()), dim=-1)
            info.update(zip(self._inputs, parts, strict=True))
        return self.network.encode(info, emb_keys=list(self._inputs))['emb'][:, 0]

    def predict(self, context: Tensor, actions: Tensor) -> Tensor:
        start = self._start
        blocks = self.network.extra_encoders['action'](self._blocks(actions))
        tiled = blocks.unsqueeze(2).expand(-1, -1, context.shape[2], -1)
        tokens = torch.cat((context[..., :start], tiled, context[..., start:]), dim=-1)
        after = self.network.predict(tokens)[:, -1]
        return torch.cat((after[..., :start], after[..., start + blocks.shape[-1]:]), dim=-1)


def _cost_weights(shape: tuple[int, ...], pixels: int, others: tuple[int, ...]) -> Tensor:
    """Weights with which the cost is upstream's: the mean over the patches' own entries, and that
    over each further embedding, which upstream reads from the first patch alone.
    """
    weights, start = torch.zeros(shape), pixels
    weights[:, :pixels] = weights.numel() / (shape[0] * pixels)
    for size in others:
        weights[0, start : start + size] = weights.numel() / size
        start += size
    return weights


def _as_named_here(weights: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """The same weights under the names that the installed transformers gives them."""

    def common(name: str) -> str:
        for old, new in _RENAMED:
            name = name.replace(old, new)
        return name

    here = {common(name): name for name in names}
    return {here.get(common(name), name): value for name, value in weights.items()}


def _make(node: Any) -> Any:
    """What a configuration describes, from the known classes alone."""
    if isinstance(node, list):
        return [_make(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    values = {name: _make(value) for name, value in node.items() if not name.startswith('_')}
    target = node.get('_target_')
    if target is None:
        return values
    if target in BACKBONES:
        function = BACKBONES[target]
    elif target in CLASSES:
        module, _, name = target.rpartition('.')
        function = getattr(_import(module), name)
    else:
        raise CheckpointError(
            f'config names "{target}", which is no part of LeWM, PLDM or PreJEPA that is known '
            'here: nothing else is called because a file names it. Build the model in a function '
            'of your own, and name that: python:package.module:function'
        )
    return partial(function, **values) if node.get('_partial_') else function(**values)


def _import(module: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise CheckpointError(
            f'{module}: {error}: a checkpoint of stable-worldmodel needs that library: '
            'pip install stable-worldmodel transformers, and whatever else is missing by name'
        ) from error


def _vit(
    size: str, patch_size: int = 16, image_size: int = 224, use_mask_token: bool = True,
    pretrained: bool = False,
) -> nn.Module:
    """stable_pretraining's ``vit_hf``; its weights are in the checkpoint, pretrained or not."""
    if size not in _VITS:
        raise ValueError(f'encoder size "{size}" is none of {", ".join(_VITS)}')
    transformers = _import('transformers')
    width, layers, heads = _VITS[size]
    config = transformers.ViTConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * width, image_size=image_size, patch_size=patch_size,
    )  # fmt: skip
    return transformers.ViTModel(config, add_pooling_layer=False, use_mask_token=use_mask_token)


def _backbone(name: str) -> nn.Module:
    """``create_backbone`` without the hub that it downloads from: DINOv2 as published."""
    size = name.removeprefix('facebook/').replace('-', '_').removeprefix('dinov2_')
    if size not in _DINOV2:
        raise CheckpointError(
            f'config names the backbone "{name}"; known are {", ".join(_DINOV2)} of dinov2. Build '
            'the model in a function of your own, and name that: python:package.module:function'
        )
    transformers = _import('transformers')
    width, layers, heads = _DINOV2[size]
    return transformers.Dinov2Model(transformers.Dinov2Config(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, mlp_ratio=4,
        image_size=518, patch_size=14, layer_norm_eps=1e-6, layerscale_value=1.0, qkv_bias=True,
    ))  # fmt: skip


# What upstream calls for its encoders, and what makes the same network here.
BACKBONES = {
    'stable_pretraining.backbone.utils.vit_hf': _vit,
    'stable_worldmodel.wm.prejepa.module.create_backbone': _backbone,
}
