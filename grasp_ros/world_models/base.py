# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The contract between a learned world model and everything that plans with it.

Symbols used in all docstrings:

====  =========================================================================
N     batch: time steps, restarts, robots, dataset rows — whoever calls decides
F     camera frames that make one latent (``card.frames``)
H     latents in the predictor's context (``card.history``)
k     control steps in one model step (``card.action_block``)
A     action dimensions; P proprioceptive dimensions
====  =========================================================================

A *latent* has the model's own shape ``card.latent_shape``: ``(16,)`` for a vector,
``(196, 384)`` for patch tokens. Nothing above this layer assumes which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from grasp_ros.errors import CardError, ObservationError
from grasp_ros.world_models.captured import Graphs

CARD_FORMAT = 1


@dataclass(frozen=True)
class CameraSpec:
    """The picture that one camera must deliver.

    :param height: pixels
    :param width: pixels
    """

    height: int
    width: int


@dataclass(frozen=True)
class ActionSpec:
    """One action dimension in physical units.

    :param name: what it drives, e.g. ``linear.x``; output mappings refer to it
    :param unit: e.g. ``m/s``
    :param low: smallest value seen in training
    :param high: largest value seen in training
    """

    name: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True)
class SignalSpec:
    """One proprioceptive dimension.

    :param name: e.g. ``joint_1``
    :param unit: e.g. ``rad``
    """

    name: str
    unit: str


@dataclass(frozen=True)
class ModelCard:
    """What a controller must know about a model; stored as JSON beside the weights.

    :param name: short name, e.g. ``two_rooms``
    :param architecture: ``{'type': registered name, **constructor arguments}``
    :param cameras: name -> :class:`CameraSpec`
    :param actions: the A action dimensions, in order
    :param latent_shape: shape of one latent
    :param model_step_sec: duration of one predicted step, seconds
    :param action_block: k, control steps in one model step
    :param frames: F, frames per latent, one model step apart, oldest first
    :param history: H, latents in the predictor's context, one model step apart
    :param proprioception: the P proprioceptive dimensions, in order
    :param latent_scale: root mean square of a latent's entries about their mean; noise and costs
        are expressed in units of it, so that one planner setting serves many models
    :param goal_tolerance: :meth:`WorldModel.cost` under which a goal counts as reached, calibrated
        on held-out data; 0 when unknown (the user must then set one)
    :param innovation_limit: :meth:`WorldModel.cost` between a latent that was foreseen one step
        before and the one that was seen, which hardly any step exceeds, calibrated on held-out
        data; 0 when unknown
    :param motion_limit: :meth:`WorldModel.cost` between a latent and the one foreseen for the next
        step, above which the picture must change, calibrated likewise; 0 when unknown
    :param observer_gain: share, in (0, 1], of what was not foreseen that is believed, for all
        entries of a latent or for each along its last axis; ``s = s' + gain (seen - s')`` with
        s' the predicted latent. Less than 1 where a frame says less than the prediction, such as
        the speed in a latent of two frames
    :param metrics: measured figures, for the reader
    :param training: command, seed, versions, for the reader
    :raises CardError: when a field is missing, of the wrong type, or contradicts another
    """

    name: str
    architecture: Mapping[str, Any]
    cameras: Mapping[str, CameraSpec]
    actions: tuple[ActionSpec, ...]
    latent_shape: tuple[int, ...]
    model_step_sec: float
    action_block: int = 1
    frames: int = 1
    history: int = 1
    proprioception: tuple[SignalSpec, ...] = ()
    latent_scale: float = 1.0
    goal_tolerance: float = 0.0
    innovation_limit: float = 0.0
    motion_limit: float = 0.0
    observer_gain: tuple[float, ...] = (1.0,)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    format: int = CARD_FORMAT

    def __post_init__(self) -> None:
        if self.format != CARD_FORMAT:
            raise CardError(f'card format {self.format} is not {CARD_FORMAT}: retrain or convert')
        for name in ('architecture', 'metrics', 'training'):
            if not isinstance(getattr(self, name), Mapping):
                raise CardError(f'{name} must hold names and values, is {getattr(self, name)}')
        if not self.cameras or not self.actions or not self.latent_shape:
            raise CardError('a card needs at least one camera, one action and a latent shape')
        for name in ('action_block', 'frames', 'history'):
            _require_counts(name, [getattr(self, name)])
        _require_counts('latent_shape', self.latent_shape)
        for name, camera in self.cameras.items():
            _require_counts(f'camera {name}: height and width', [camera.height, camera.width])
        if not (math.isfinite(self.model_step_sec) and self.model_step_sec > 0):
            raise CardError(f'model_step_sec must be positive, is {self.model_step_sec}')
        if not (math.isfinite(self.latent_scale) and self.latent_scale > 0):
            raise CardError(f'latent_scale must be positive, is {self.latent_scale}')
        for name in ('goal_tolerance', 'innovation_limit', 'motion_limit'):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise CardError(f'{name} must not be negative, is {value}')
        if len(self.observer_gain) not in (1, self.latent_shape[-1]) or not all(
            0 < gain <= 1 for gain in self.observer_gain
        ):
            raise CardError(f'observer_gain must be 1 or {self.latent_shape[-1]} numbers in (0, 1]'
                            f', is {list(self.observer_gain)}')
        for spec in self.actions:
            if not (math.isfinite(spec.low) and math.isfinite(spec.high) and spec.low < spec.high):
                raise CardError(f'action {spec.name}: low {spec.low} must be below {spec.high}')

    @property
    def action_size(self) -> int:
        """A, the number of action dimensions."""
        return len(self.actions)

    @property
    def control_period_sec(self) -> float:
        """Seconds between two commands: the model step divided by k."""
        return self.model_step_sec / self.action_block

    @property
    def senses_one_picture(self) -> bool:
        """Whether one camera is all that the model senses with."""
        return len(self.cameras) == 1 and not self.proprioception

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; :meth:`from_dict` gives the same card back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelCard:
        """Parse what :meth:`to_dict` wrote.

        :raises CardError: on a missing or unknown field or a wrong type
        """
        try:
            values = dict(data)
            values['cameras'] = {k: CameraSpec(**v) for k, v in values['cameras'].items()}
            values['actions'] = tuple(ActionSpec(**v) for v in values['actions'])
            values['latent_shape'] = tuple(values['latent_shape'])
            values['proprioception'] = tuple(
                SignalSpec(**v) for v in values.get('proprioception', ())
            )
            values['observer_gain'] = tuple(map(float, values.get('observer_gain', (1.0,))))
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CardError(f'model card: {type(error).__name__}: {error}') from error


def _require_counts(name: str, values: Sequence[Any]) -> None:
    """
    :raises CardError: when they are not all whole numbers above 0
    """
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in values):
        given = ', '.join(map(str, values))
        raise CardError(f'{name} must be whole and at least 1, is {given}')


@dataclass(frozen=True)
class Observation:
    """What the robot sensed, batched; times run oldest first.

    :param images: camera name -> uint8 ``[N, F, height, width, 3]``, rgb
    :param proprioception: float32 ``[N, F, P]``, or None when the card lists none
    :param actions: float32 ``[N, F - 1, k, A]`` in the card's units: the blocks that were applied
        between the frames; None when F = 1
    """

    images: Mapping[str, Tensor]
    proprioception: Tensor | None = None
    actions: Tensor | None = None

    def check(self, card: ModelCard) -> None:
        """Compare with the card, so that a wrong picture fails by name and not inside a network.

        :raises ObservationError: naming what was expected and what came
        """
        if set(self.images) != set(card.cameras):
            raise ObservationError(
                f'cameras {sorted(self.images)} given, the model needs {sorted(card.cameras)}'
            )
        for name, spec in card.cameras.items():
            image = self.images[name]
            expected = (card.frames, spec.height, spec.width, 3)
            if image.dtype != torch.uint8 or tuple(image.shape[1:]) != expected:
                raise ObservationError(
                    f'camera {name}: {image.dtype} {tuple(image.shape)} given, '
                    f'the model needs uint8 [N, {", ".join(map(str, expected))}]'
                )
        self._check_signal('proprioception', (card.frames, len(card.proprioception)))
        self._check_signal('actions', (card.frames - 1, card.action_block, card.action_size))

    def _check_signal(self, name: str, expected: tuple[int, ...]) -> None:
        signal = getattr(self, name)
        if 0 in expected:
            return
        if signal is None or tuple(signal.shape[1:]) != expected:
            given = None if signal is None else tuple(signal.shape)
            raise ObservationError(f'{name}: {given} given, the model needs [N, *{expected}]')
        if signal.is_cuda and torch.cuda.is_current_stream_capturing():
            return  # no number can be looked at then
        if not torch.isfinite(signal).all():
            raise ObservationError(f'{name} holds values that are not finite')


@runtime_checkable
class WorldModel(Protocol):
    """A learned world model F(s, a) with the encoder that gives it its latents.

    All methods are pure: the same input gives the same output, nothing is remembered.
    Implementations inherit :class:`LatentModel` for the defaults.
    """

    card: ModelCard
    graphs: Graphs | None
    """Where planners may capture what they do with the model; None where they may not."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie; every tensor handed in must lie there too."""

    def encode(self, observation: Observation) -> Tensor:
        """One latent per observation, ``[N, *latent]`` float32.

        :raises ObservationError: when the observation does not fit the card
        """

    def predict(self, context: Tensor, actions: Tensor) -> Tensor:
        """F: the latent one model step later.

        :param context: ``[N, H, *latent]``, oldest first; the last entry is the present one
        :param actions: ``[N, H, k, A]`` in the card's units; ``actions[:, -1]`` is the block that
            is applied now, the others are those that led to the present latent
        :return: ``[N, *latent]``
        """

    def rollout(self, context: Tensor, actions: Tensor) -> Tensor:
        """Repeated :meth:`predict`, each latent fed back as context; differentiable.

        :param context: ``[N, H, *latent]``
        :param actions: ``[N, H - 1 + T, k, A]``; the first H - 1 blocks led to the present latent
        :return: the latents s_1 … s_T, ``[N, T, *latent]``
        """

    def predict_with_vjp(
        self, context: Tensor, actions: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """:meth:`predict` and its pullback to the actions, J_a F^T v.

        Nothing is differentiated through the context: this is GRASP's stop-gradient.

        :return: latents ``[N, *latent]`` and a function ``[N, *latent] -> [N, H, k, A]`` that may
            be called once
        """

    def rollout_with_vjp(
        self, context: Tensor, actions: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """:meth:`rollout` and its pullback to the actions, with nothing cut.

        :return: latents ``[N, T, *latent]`` and a function ``[N, T, *latent] ->
            [N, H - 1 + T, k, A]`` that may be called once
        """

    def cost(self, latent: Tensor, goal: Tensor) -> Tensor:
        """Dimensionless distance to the goal, ``[N]``, >= 0; 0 where they are equal.

        :param latent: ``[N, *latent]``
        :param goal: ``[*latent]`` or ``[N, *latent]``
        """

    def cost_gradient(self, latent: Tensor, goal: Tensor) -> Tensor:
        """Gradient of :meth:`cost` with respect to ``latent``, ``[N, *latent]``."""

    def run(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """``function(model, *inputs)``, which may be launched on a GPU as one.

        :param function: of a module, pure; gives a tensor or a tuple of them, and looks at no
            number
        :param inputs: tensors, and constants that can be hashed
        """

    @property
    def has_manifold(self) -> bool:
        """Whether :meth:`project` is more than the identity."""

    def project(self, latent: Tensor) -> Tensor:
        """Nearest latent that an encoder could give; the identity where no such set is known.

        GRASP brings its lifted states back with it, noise included.

        :param latent: ``[N, *latent]``
        """

    def position(self, latent: Tensor) -> Tensor | None:
        """Place in the plane, ``[N, 2]`` metres, by the card's probe; None without a probe.

        For pictures and reports only: no control decision rests on it.
        """


class LatentModel(torch.nn.Module):
    """Defaults for :class:`WorldModel`: weighted squared costs, autograd pullback, no manifold.

    ``cost(s, g) = mean_i w_i ((s_i - g_i) / card.latent_scale)^2`` — the mean, not the sum, as in
    the authors' GRASP code, so that one setting serves latents of any size.

    :param card: of the model
    :param weights: the w_i, non-negative, broadcastable to a latent; None = 1 everywhere
    """

    graphs = None
    _slope: Tensor
    _half_slope: Tensor

    def __init__(self, card: ModelCard, *, weights: Tensor | None = None) -> None:
        super().__init__()
        self.card = card
        # d cost / d s = slope (s - g); kept as tensors because they are needed in every iteration.
        factor = 2.0 / (math.prod(card.latent_shape) * card.latent_scale**2)
        slope = factor * (torch.ones(()) if weights is None else weights)
        self.register_buffer('_slope', slope, persistent=False)
        self.register_buffer('_half_slope', slope / 2, persistent=False)

    @property
    def device(self) -> torch.device:
        return self._slope.device

    def cost(self, latent: Tensor, goal: Tensor) -> Tensor:
        squared = (latent - goal).square_().mul_(self._half_slope)
        return squared.flatten(1).sum(dim=1)

    def cost_gradient(self, latent: Tensor, goal: Tensor) -> Tensor:
        return (latent - goal).mul_(self._slope)

    def predict(self, context: Tensor, actions: Tensor) -> Tensor:
        raise NotImplementedError

    def rollout(self, context: Tensor, actions: Tensor) -> Tensor:
        history = self.card.history
        sequence = list(context.unbind(1))
        for t in range(actions.shape[1] - history + 1):
            window = torch.stack(sequence[t : t + history], dim=1)
            sequence.append(self.predict(window, actions[:, t : t + history]))
        return torch.stack(sequence[history:], dim=1)

    def predict_with_vjp(
        self, context: Tensor, actions: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return _with_autograd(self.predict, context, actions)

    def rollout_with_vjp(
        self, context: Tensor, actions: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return _with_autograd(self.rollout, context, actions)

    def run(self, function: Callable[..., Any], *inputs: Any) -> Any:
        return function(self, *inputs)

    @property
    def has_manifold(self) -> bool:
        return type(self).project is not LatentModel.project

    def project(self, latent: Tensor) -> Tensor:
        return latent

    def position(self, latent: Tensor) -> Tensor | None:
        return None


def onto_layer_norm(latent: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    """The latents that a layer norm could give, next to some: a :meth:`WorldModel.project`.

    :param latent: ``[N, *latent]``, whose last entries the norm was taken over
    :param norm: the encoder's last layer; its weights must not be zero
    """
    if norm.bias is not None:
        latent = latent - norm.bias
    return norm(latent if norm.weight is None else latent / norm.weight)


def _with_autograd(
    function: Callable[[Tensor, Tensor], Tensor], context: Tensor, actions: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    with torch.enable_grad():
        leaf = actions.detach().requires_grad_(True)
        latent = function(context.detach(), leaf)

    def pullback(cotangent: Tensor) -> Tensor:
        return torch.autograd.grad(latent, leaf, cotangent)[0]

    return latent.detach(), pullback
