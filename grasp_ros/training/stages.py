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
from grasp_ros.world_models.jepa import (
    ColourEncoder,
    Encoder,
    Predictor,
    make_probe,
    mlp,
    with_velocity,
)

SHARP = 15.0  # times the usual weights from z to the predictor's first layer, at the start


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The training walks as tensors.

    :param images: uint8 ``[E, L, size, size, 3]``
    :param actions: float32 ``[E, L - 1, A]``
    :param positions: float32 ``[E, L, 2 P]``, metres, of the P points that a probe reads; only its
        stage reads them, and where nobody knows them there is none
    :param layouts: int64 ``[E]``
    """

    images: Tensor
    actions: Tensor
    positions: Tensor | None
    layouts: Tensor


class Networks(nn.ModuleDict):
    """Everything that is trained.

    Latents are those of one *space*: ``plain``, of the head with which the encoder is trained, or
    ``metric``, of the metric head.

    :param config: sizes
    :param image_size: width and height of the picture, pixels
    :param action_scale: largest command, for all entries or for each, ``[A]``
    :param action_size: A
    """

    def __init__(self, config: TrainingConfig, *, image_size: int, action_scale: float | Tensor,
                 action_size: int = 2) -> None:
        plain, metric = config.plain_size, config.metric_size
        width = 2 * config.colours or config.encoder_width
        static, frames = config.static_size, 2 if config.velocity_gain else 1

        def predictor(size: int) -> Predictor:
            return Predictor(latent_size=frames * size + static, action_size=action_size,
                             action_scale=action_scale, width=config.predictor_width,
                             static_size=static)

        parts: dict[str, nn.Module] = {}
        if metric:
            metric_head = mlp(width, config.metric_width, config.metric_width, metric)
        parts |= {
            'encoder': (
                ColourEncoder(size=image_size, colours=config.colours) if config.colours else
                Encoder(size=image_size, channels=config.channels, width=width)),
            'plain_head': nn.Linear(width, plain),
            'plain_predictor': predictor(plain),
        }
        if config.views_steps:
            parts['encoder_target'] = copy.deepcopy(parts['encoder'])
        if config.probe_width:
            parts['plain_probe'] = make_probe(plain, config.probe_width, config.probe_points)
        if metric:
            parts |= {
                'metric_head': metric_head,
                'metric_target': copy.deepcopy(metric_head),
                'metric_predictor': predictor(metric),
            }
            if config.probe_width:
                parts['metric_probe'] = make_probe(metric, config.probe_width,
                                                   config.probe_points)
        if static:
            parts['static_head'] = nn.Linear(width, static)
            _sharpen(parts['plain_predictor'], plain)
        super().__init__(parts)
        self.velocity_gain, self.static_size = config.velocity_gain, static
        self.action_scale = action_scale

    def latents(self, features: Tensor, space: str) -> Tensor:
        """Latents of successive frames, ``[E, L, D]``; the first is taken to be at rest.

        :param features: the encoder's, ``[E, L, width]``
        """
        latents = self[f'{space}_head'](features)
        if self.velocity_gain:
            before = torch.cat((latents[:, :1], latents[:, :-1]), dim=1)
            latents = with_velocity(latents, before, self.velocity_gain)
        if self.static_size:
            latents = torch.cat((latents, self['static_head'](features)), dim=2)
        return latents

    def moving(self, latents: Tensor) -> Tensor:
        """The part of latents that a predictor changes."""
        return latents[..., : latents.shape[-1] - self.static_size]

    def places(self, latents: Tensor) -> Tensor:
        """The part of latents that the newest frame's place gives: h."""
        moving = self.moving(latents)
        return moving[..., : moving.shape[-1] // 2] if self.velocity_gain else moving

    def at_rest(self, latents: Tensor) -> Tensor:
        """The same latents for a robot that stands, as a goal is encoded."""
        if not self.velocity_gain:
            return latents
        latents, size = latents.clone(), self.places(latents).shape[-1]
        latents[..., size : 2 * size] = 0
        return latents


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

    def begin(self) -> None:
        """Called before all else, and not when a run is taken up again."""

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
        walks, length = self.data.images.shape[:2]
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
        networks, config = self.networks, self.config
        # A latent of two frames needs one frame before the first.
        lead = 1 if config.velocity_gain else 0
        walk, frame = self._windows(random, config.encoder_batch, config.encoder_rollout + lead)
        features = networks['encoder'](self.data.images[walk, frame].flatten(0, 1))
        latents = networks.latents(features.view(*frame.shape, -1), 'plain')
        windows, actions = latents[:, lead:], self.data.actions[walk, frame[:, lead:-1]]
        predicted = networks['plain_predictor'].rollout(windows[:, 0], actions)
        return ((predicted - windows[:, 1:]).square().mean()
                + vicreg(networks.places(latents).flatten(0, 1)))


def vicreg(latents: Tensor, *, correlated: float = 0.04) -> Tensor:
    """What keeps latents from collapsing, see :class:`EncoderStage`.

    :param latents: ``[N, D]``
    :param correlated: weight of the correlations between entries
    """
    count, size = latents.shape
    centred = latents - latents.mean(dim=0)
    covariance = centred.t() @ centred / (count - 1)
    deviation = (covariance.diagonal() + 1e-4).sqrt()
    between = covariance - torch.diag(covariance.diagonal())
    return (1 - deviation).relu().mean() + correlated * between.square().sum() / size


class PredictorStage(Stage):
    """A predictor in latents that no longer change: first on single steps, then on rollouts.

    Single steps in large batches find the motion field at a small part of the cost of rollouts;
    rollouts, which grow to their full length, then take out the drift.

    :param space: ``plain`` or ``metric``: in which latent
    """

    def __init__(self, networks: Networks, data: TrainingData, config: TrainingConfig, *,
                 space: str) -> None:
        super().__init__(networks, data, config)
        self.name, self._space = f'{space}_predictor', space
        self.rate = config.predictor_rate
        self.steps = config.predictor_steps + config.rollout_steps

    def trained(self) -> Iterable[str]:
        return (self.name,)

    def prepare(self) -> None:
        self._latents = encode_walks(self.networks, self.data.images, self._space)
        moving = self.networks.moving(self._latents)
        self._scale = moving.flatten(0, 1).var(dim=0).mean().sqrt()

    def loss(self, step: int, random: np.random.Generator) -> Tensor:
        config, rollout, batch = self.config, 1, self.config.predictor_batch
        if step >= config.predictor_steps:
            part = (step - config.predictor_steps) / (0.6 * config.rollout_steps)
            rollout = min(config.rollout_longest, 2 + int(config.rollout_longest * part))
            batch = config.rollout_batch
        walk, frame = self._windows(random, batch, rollout)
        windows, actions = self._latents[walk, frame], self.data.actions[walk, frame[:, :-1]]
        predicted = self.networks[self.name].rollout(windows[:, 0], actions)
        error = self.networks.moving(predicted - windows[:, 1:])
        return (error / self._scale).square().mean()


class FreshPredictorStage(PredictorStage):
    """The same from a fresh predictor that follows steep changes of place.

    A block needs one: whether the robot touches it is decided within millimetres.
    """

    sharp = 5.0

    def begin(self) -> None:
        predictor, config = self.networks[self.name], self.config
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(config.seed)
            fresh = Predictor(latent_size=predictor.from_latent.in_features, action_size=2,
                              action_scale=self.networks.action_scale,
                              width=config.predictor_width, static_size=config.static_size)
            _sharpen(fresh, config.plain_size, self.sharp)
            self._start(fresh)
            predictor.load_state_dict(fresh.state_dict())

    def _start(self, fresh: Predictor) -> None:
        """What else a fresh predictor has to start with."""


@torch.no_grad()
def _sharpen(predictor: Predictor, moving: int, times: float = SHARP) -> None:
    """Make a fresh predictor, of so many moving entries, follow steep changes of place.

    A wall is a step in a z of few entries, and a network that starts smooth stays so.
    """
    predictor.from_latent.weight[:, :moving] *= times
    predictor.from_latent.bias *= times


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
    expectile, follow, mean_lead = 0.97, 0.02, 25

    def __init__(self, networks: Networks, data: TrainingData, config: TrainingConfig) -> None:
        super().__init__(networks, data, config)
        self.steps, self.rate, self.unit = config.metric_steps, 1e-3, config.metric_unit

    def trained(self) -> Iterable[str]:
        return 'metric_head', 'metric_target'

    def prepare(self) -> None:
        self._features = encode_features(self.networks, self.data.images).flatten(0, 1)
        self.networks['metric_target'].requires_grad_(False)

    def loss(self, step: int, random: np.random.Generator) -> Tensor:
        walks, length = self.data.images.shape[:2]
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
        return (weight * error.square()).mean() / (6.25 * self.unit**2)

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
        latents = encode_walks(self.networks, self.data.images, self._space)
        self._latents = self.networks.places(latents).flatten(0, 1)
        self._positions = self.data.positions.flatten(0, 1)
        self.networks[self.name][0].fit(self._latents)

    def loss(self, step: int, random: np.random.Generator) -> Tensor:
        rows = torch.from_numpy(random.integers(0, len(self._latents), 1024))
        found = self.networks[self.name](self._latents[rows])
        return (found - self._positions[rows]).square().mean()


@torch.no_grad()
def encode_features(networks: Networks, images: Tensor, *, encoder: str = 'encoder') -> Tensor:
    """The encoder's features of all frames, ``[E, L, width]``.

    :param images: uint8 ``[E, L, size, size, 3]``
    :param encoder: name of the network
    """
    networks.eval()
    parts = [networks[encoder](part) for part in images.flatten(0, 1).split(1000)]
    return torch.cat(parts).view(*images.shape[:2], -1)


@torch.no_grad()
def encode_walks(networks: Networks, images: Tensor, space: str) -> Tensor:
    """Latents of all frames, ``[E, L, D]``.

    :param images: uint8 ``[E, L, size, size, 3]``
    :param space: ``plain`` or ``metric``
    """
    return networks.latents(encode_features(networks, images), space)
