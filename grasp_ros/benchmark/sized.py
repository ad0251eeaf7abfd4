# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Networks with the shapes of published world models and random weights, to be timed.

They do what those do, in size and order of operations: a vision transformer for the picture, a
causal transformer over the last latents for the step, conditioned on blocks of five actions. They
are not those models, and predict nothing: :mod:`grasp_ros.world_models.adapters` runs the genuine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grasp_ros.world_models.base import (
    ActionSpec,
    CameraSpec,
    LatentModel,
    ModelCard,
    Observation,
)

MODEL_STEP_SEC, ACTION_BLOCK, HISTORY = 0.5, 5, 3
PATCH = 14


@dataclass(frozen=True)
class Size:
    """The shape of a model.

    :param name: of the model that has it
    :param pixels: side of the picture
    :param encoder: width, layers, heads of the vision transformer
    :param pools: whether a latent is one token, else one for each patch
    :param embedding: entries of an action's embedding; where latents are one token it modulates
        the layers and is as wide as they, else it is appended to each token
    :param predictor: layers, heads, entries of a head, width of the perceptron between
    """

    name: str
    pixels: int
    encoder: tuple[int, int, int]
    pools: bool
    embedding: int
    predictor: tuple[int, int, int, int]


# LeWM: ViT-tiny, one token of 192, six layers that actions modulate.
# DINO-WM (arXiv 2411.04983): DINOv2 ViT-S, 196 tokens of 384, actions appended to each of them.
SIZES = {
    'lewm': Size('lewm', 224, (192, 12, 3), True, 192, (6, 16, 64, 2048)),
    'dino-wm': Size('dino-wm', 196, (384, 12, 6), False, 10, (6, 16, 64, 2048)),
}


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with GELU between them."""
    layers: list[nn.Module] = []
    for n, (inputs, outputs) in enumerate(pairwise(sizes)):
        layers += ([nn.GELU()] if n else []) + [nn.Linear(inputs, outputs)]
    return nn.Sequential(*layers)


class Layer(nn.Module):
    """A transformer layer: attention and perceptron, each after a norm and beside a residual.

    :param width: of the tokens
    :param heads: of the attention
    :param head: entries of each
    :param hidden: width of the perceptron
    :param modulated: whether a condition scales, shifts and gates both (AdaLN)
    """

    def __init__(
        self, width: int, heads: int, head: int, hidden: int, *, modulated: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.take = nn.Linear(width, 3 * heads * head, bias=False)
        self.give = nn.Linear(heads * head, width)
        self.perceptron = mlp(width, hidden, width)
        self.modulate = nn.Linear(width, 6 * width) if modulated else None

    def forward(
        self, tokens: Tensor, *, mask: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """Tokens ``[N, L, width]``; the condition is as many."""
        parts = [None] * 6
        if self.modulate is not None:
            parts = self.modulate(F.silu(condition)).chunk(6, dim=-1)
        for norm, part, (scale, shift, gate) in zip(
            self.norms, (self._attend, self._think), (parts[:3], parts[3:]), strict=True
        ):
            seen = norm(tokens)
            if scale is not None:
                seen = seen * (1 + scale) + shift
            found = part(seen, mask)
            tokens = tokens + (found if gate is None else gate * found)
        return tokens

    def _attend(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        count, length, _ = tokens.shape
        asked, keys, values = (
            part.view(count, length, self.heads, -1).transpose(1, 2)
            for part in self.take(tokens).chunk(3, dim=-1)
        )
        found = F.scaled_dot_product_attention(asked, keys, values, attn_mask=mask)
        return self.give(found.transpose(1, 2).flatten(2))

    def _think(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        return self.perceptron(tokens)


class SizedModel(LatentModel):
    """A world model of a size, with random weights.

    :param size: its shape
    :param seed: of the weights
    """

    def __init__(self, size: Size, *, seed: int = 0) -> None:
        width, layers, heads = size.encoder
        patches = (size.pixels // PATCH) ** 2
        tokens = 1 if size.pools else patches
        super().__init__(
            ModelCard(
                name=size.name,
                architecture={'type': 'sized'},
                cameras={'front': CameraSpec(size.pixels, size.pixels)},
                actions=tuple(
                    ActionSpec(f'linear.{axis}', 'm/s', -0.3, 0.3) for axis in ('x', 'y')
                ),
                latent_shape=(width,) if size.pools else (tokens, width),
                model_step_sec=MODEL_STEP_SEC,
                action_block=ACTION_BLOCK,
                history=HISTORY,
            )
        )
        self.size = size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.patches = nn.Conv2d(3, width, kernel_size=PATCH, stride=PATCH)
            self.places = nn.Parameter(0.02 * torch.randn(1, patches, width))
            self.encoder = nn.ModuleList(
                Layer(width, heads, width // heads, 4 * width) for _ in range(layers)
            )
            inner = width if size.pools else width + size.embedding
            count, heads, head, hidden = size.predictor
            self.times = nn.Parameter(0.02 * torch.randn(1, HISTORY, 1, inner))
            self.embed = mlp(2 * ACTION_BLOCK, 4 * size.embedding, size.embedding)
            self.predictor = nn.ModuleList(
                Layer(inner, heads, head, hidden, modulated=size.pools) for _ in range(count)
            )
        # No token sees a later time than its own.
        times = torch.arange(HISTORY).repeat_interleave(tokens)
        self.register_buffer('mask', times[:, None] >= times[None, :], persistent=False)

    def encode(self, observation: Observation) -> Tensor:
        """Latents of the newest pictures, ``[N, *latent]``, each token of unit scale."""
        observation.check(self.card)
        pixels = observation.images['front'][:, -1].permute(0, 3, 1, 2) / 255
        tokens = self.patches(pixels).flatten(2).transpose(1, 2) + self.places
        for layer in self.encoder:
            tokens = layer(tokens)
        if self.size.pools:
            tokens = tokens.mean(dim=1)
        return F.layer_norm(tokens, tokens.shape[-1:])

    def predict(self, context: Tensor, actions: Tensor) -> Tensor:
        """The latents that follow, ``[N, *latent]``."""
        pushes = self.embed(actions.flatten(2) / 0.3)  # [N, H, embedding]
        if self.size.pools:
            tokens = context + self.times[:, :, 0]
            for layer in self.predictor:
                tokens = layer(tokens, mask=self.mask, condition=pushes)
            found = tokens[:, -1]
        else:
            count, _, patches, width = context.shape
            pushes = pushes.unsqueeze(2).expand(-1, -1, patches, -1)
            tokens = (torch.cat((context, pushes), dim=-1) + self.times).flatten(1, 2)
            for layer in self.predictor:
                tokens = layer(tokens, mask=self.mask)
            found = tokens[:, -patches:, :width]
        return F.layer_norm(found, found.shape[-1:])


def make(name: str, device: str | torch.device = 'cpu') -> SizedModel:
    """A model of a size, ready to run.

    :param name: of :data:`SIZES`
    """
    return SizedModel(SIZES[name]).to(device).eval().requires_grad_(False)
