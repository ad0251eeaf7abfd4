# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The stages of training: what each one learns, from what, and by which loss.

A stage draws the batch of step i from a generator seeded by (seed, stage, i), so that a run
that was interrupted goes on with the batches it would have had.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from grasp_ros.training.config import TrainingConfig
from grasp_ros.world_models.jepa import Encoder, Predictor, make_probe, mlp


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The training walks as tensors.

    :param images: uint8 ``[E, L, size, size, 3]``
    :param actions: float32 ``[E, L - 1, 2]``, m/s
    :param positions: float32 ``[E, L, 2]``, metres; only the probe's stage reads them
    """

    images: Tensor
    actions: Tensor
    positions: Tensor


class Networks(nn.ModuleDict):
    """Everything that is trained.

    :param config: sizes
    :param image_size: width and height of the picture, pixels
    :param action_scale: largest speed of an axis, m/s
    """

    def __init__(self, config: TrainingConfig, *, image_size: int, action_scale: float) -> None:
        plain, metric, width = config.plain_size, config.metric_size, config.encoder_width

        def predictor(size: int) -> Predictor:
            return Predictor(latent_size=size, action_size=2, action_scale=action_scale,
                             width=config.predictor_width)

        metric_head = mlp(width, config.metric_width, config.metric_width, metric)
        super().__init__({
            'encoder': Encoder(size=image_size, channels=config.channels, width=width),
            'plain_head': nn.Linear(width, plain),
            'plain_predictor': predictor(plain),
            'plain_probe': make_probe(plain, config.probe_width),
            'metric_head': metric_head,
            'metric_target': copy.deepcopy(metric_head),
            'metric_predictor': predictor(metric),
            'metric_probe': make_probe(metric, config.probe_width),
        })


class Stage:
    """One stage: a set of parameters and a loss.

    :param networks: everything that is trained; a stage changes only its own part
    :param data: training walks
    :param config: sizes and numbers of steps
    """

    name: str
    steps: int
    rate: float

    def __init__(self, networks: Networks, data: TrainingData, config: TrainingConfig) -> None:
        self.networks, self.data, self.config = networks, data, config

    def trained(self) -> Iterable[str]:
        """Names of the networks that this stage changes."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Compute what the whole stage needs, once, before its first step after a (re)start."""

    def loss(self, step: int, random: np.random.Generator) -> Tensor:
        """Loss of one step.

        :param step: from 0
        :param random: generator of this step alone
        """
        raise NotImplementedError

    def after_step(self) -> None:
        """Called after each change of the parameters."""

    def _windows(self, random: np.random.Generator, batch: int, rollout: int
                 ) -> tuple[Tensor, Tensor]:
        """Rows of walks and of frames of random windows of ``rollout + 1`` frames."""
        walks, length = self.data.positions.shape[:2]
        walk = torch.from_numpy(random.integers(0, walks, (batch, 1)))
        first = torch.from_numpy(random.integers(0, length - rollout, (batch, 1)))
        return walk, first + torch.arange(rollout + 1)


class EncoderStage(Stage):
    """Encoder and a plain predictor jointly, on rollouts, with VICReg against collapse.

    Bardes, Ponce, LeCun, "VICReg", 2022: each latent entry keeps a standard deviation of at
    least 1 over the batch, and the entries stay uncorrelated.
    """

    name = 'encoder'

    def __init__(self, networks: Networks, data: TrainingData, config: TrainingConfig) -> None:
        super().__init__(networks, data, config)
        self.steps, self.rate = config.encoder_steps, 2e-3

    def trained(self) -> Iterable[str]:
        return 'encoder', 'plain_head', 'plain_predictor'

    def loss(self, step: int, random: np.random.Generator) -> Tensor:
        walk, frame = self._windows(random, self.config.encoder_batch, self.config.encoder_rollout)
        images, actions = self.data.images[walk, frame], self.data.actions[walk, frame[:, :-1]]
        features = self.networks['encoder'](images.flatten(0, 1))
        latents = self.networks['plain_head'](features)
        windows = latents.view(*frame.shape, -1)
        predicted = self.networks['plain_predictor'].rollout(windows[:, 0], actions)
        return (predicted - windows[:, 1:]).square().mean() + _vicreg(latents)


def _vicreg(latents: Tensor) -> Tensor:
    count, size = latents.shape
    centred = latents - latents.mean(dim=0)
    covariance = centred.t() @ centred / (count - 1)
    deviation = (covariance.diagonal() + 1e-4).sqrt()
    correlated = covariance - torch.diag(covariance.diagonal())
    return (1 - deviation).relu().mean() + 0.04 * correlated.square().sum() / size


class PredictorStage(Stage):
    """A predictor in latents that no longer change: first on single steps, then on rollouts.

    Single steps in large batches find the motion field at a small part of the cost of rollouts;
    rollouts, which grow to their full length, then take out the drift.

    :param space: ``plain`` or ``metric``: in which latent
    """

    def __init__(self, networks: Networks, data: TrainingData, config: TrainingConfig, *,
                 space: str) -> None:
        super().__init__(networks, data, config)
        self.name, self.rate, self._space = f'{space}_predictor', 4e-3, space
        self.steps = config.predictor_steps + config.rollout_steps

    def trained(self) -> Iterable[str]:
        return (self.name,)

    def prepare(self) -> None:
        self._latents = encode_walks(self.networks, self.data.images, self._space)
        self._scale = self._latents.flatten(0, 1).var(dim=0).mean().sqrt()

    def loss(self, step: int, random: np.random.Generator) -> Tensor:
        config, rollout, batch = self.config, 1, self.config.predictor_batch
        if step >= config.predictor_steps:
            part = (step - config.predictor_steps) / (0.6 * config.rollout_steps)
            rollout = min(config.rollout_longest, 2 + int(config.rollout_longest * part))
            batch = config.rollout_batch
        walk, frame = self._windows(random, batch, rollout)
        windows, actions = self._latents[walk, frame], self.data.actions[walk, frame[:, :-1]]
        predicted = self.networks[self.name].rollout(windows[:, 0], actions)
        return ((predicted - windows[:, 1:]) / self._scale).square().mean()


class MetricStage(Stage):
    """The metric head: steps to go as a Euclidean distance, by expectile temporal difference.

    With d(s, g) = unit * |phi(s) - phi(g)|, the loss pulls d(s_t, g) towards
    n + d'(s_{t+n}, g), d' of a slowly following copy, and weighs a target below the present
    value 0.97 and one above it 0.03: of all that the random walks do from s, the fastest way
    counts. n is drawn up to ``metric_lead``; several steps at once carry the distance round the
    wall in a fraction of the steps that n = 1 needs. Goals are later frames of the same walk
    (half) and any frames.
    """

    name = 'metric'
    expectile, follow, unit, mean_lead = 0.97, 0.02, 4.0, 25

    def __init__(self, networks: Networks, data: TrainingData, config: TrainingConfig) -> None:
        super().__init__(networks, data, config)
        self.steps, self.rate = config.metric_steps, 1e-3

    def trained(self) -> Iterable[str]:
        return 'metric_head', 'metric_target'

    def prepare(self) -> None:
        self._features = encode_walks(self.networks, self.data.images, None).flatten(0, 1)
        self.networks['metric_target'].requires_grad_(False)

    def loss(self, step: int, random: np.random.Generator) -> Tensor:
        walks, length = self.data.positions.shape[:2]
        batch = self.config.metric_batch
        walk = random.integers(0, walks, batch)
        ahead = random.integers(1, self.config.metric_lead + 1, batch)
        frame = (random.random(batch) * (length - ahead)).astype(np.int64)
        later = np.minimum(frame + random.geometric(1 / self.mean_lead, batch), length - 1)
        own = random.random(batch) < 0.5
        goal = np.where(own, walk * length + later, random.integers(0, walks * length, batch))
        passed = torch.from_numpy(own & (later - frame <= ahead))
        elapsed = torch.from_numpy(np.where(passed, later - frame, ahead)).float()
        start = walk * length + frame
        now, then, goals = (self._features[torch.from_numpy(rows)]
                            for rows in (start, start + ahead, goal))
        with torch.no_grad():
            target = self.networks['metric_target']
            to_go = self.unit * (target(then) - target(goals)).norm(dim=1)
            wanted = elapsed + to_go.masked_fill(passed, 0.0)
        head = self.networks['metric_head']
        distance = self.unit * ((head(now) - head(goals)).square().sum(dim=1) + 1e-8).sqrt()
        error = wanted - distance
        weight = torch.where(error < 0, self.expectile, 1 - self.expectile)
        return (weight * error.square()).mean() / 100

    def after_step(self) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(list(self.networks['metric_target'].parameters()),
                                 list(self.networks['metric_head'].parameters()), self.follow)


class ProbeStage(Stage):
    """The probe: place from the latent. The only stage that reads ground truth.

    :param space: ``plain`` or ``metric``: from which latent
    """

    def __init__(self, networks: Networks, data: TrainingData, config: TrainingConfig, *,
                 space: str) -> None:
        super().__init__(networks, data, config)
        self.name, self.rate, self._space = f'{space}_probe', 1e-2, space
        self.steps = config.probe_steps

    def trained(self) -> Iterable[str]:
        return (self.name,)

    def prepare(self) -> None:
        self._latents = encode_walks(self.networks, self.data.images, self._space).flatten(0, 1)
        self._positions = self.data.positions.flatten(0, 1)
        self.networks[self.name][0].fit(self._latents)

    def loss(self, step: int, random: np.random.Generator) -> Tensor:
        rows = torch.from_numpy(random.integers(0, len(self._latents), 1024))
        found = self.networks[self.name](self._latents[rows])
        return (found - self._positions[rows]).square().mean()


def stages(networks: Networks, data: TrainingData, config: TrainingConfig) -> list[Stage]:
    """All stages, in the order in which they run."""
    parts = networks, data, config
    return [
        EncoderStage(*parts), PredictorStage(*parts, space='plain'), MetricStage(*parts),
        PredictorStage(*parts, space='metric'), ProbeStage(*parts, space='plain'),
        ProbeStage(*parts, space='metric'),
    ]


@torch.no_grad()
def encode_walks(networks: Networks, images: Tensor, space: str | None) -> Tensor:
    """Latents of all frames, ``[E, L, D]``.

    :param images: uint8 ``[E, L, size, size, 3]``
    :param space: ``plain`` or ``metric``; None for the encoder's features
    """
    networks.eval()
    head = networks[f'{space}_head'] if space else nn.Identity()
    parts = [head(networks['encoder'](part)) for part in images.flatten(0, 1).split(1000)]
    return torch.cat(parts).view(*images.shape[:2], -1)
