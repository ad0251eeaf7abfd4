# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A world model as a device runs it fastest: in half precision, and in graphs instead of calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from grasp_ros.errors import ConfigError, GraspError, ModelError
from grasp_ros.world_models import contract
from grasp_ros.world_models.base import LatentModel, Observation, WorldModel
from grasp_ros.world_models.captured import Captured, Graphs

PRECISIONS = {'float32': None, 'bfloat16': torch.bfloat16}


class Accelerated:
    """A world model with the same contract, latents in float32 included.

    ``bfloat16`` is torch's automatic mixed precision: products of matrices and convolutions with
    half the digits, norms and sums with all of them. The weights of linear and convolution layers
    are kept in it, so that they are not converted in every call.

    What is not named here (costs, card, probe, …) is the model's own.

    :param model: on its device, in evaluation mode; half precision changes its weights
    :param precision: one of :data:`PRECISIONS`
    :param cuda_graphs: whether encoder, steps and rollouts are replayed as CUDA graphs, and
        planners may capture what they do with the model; on a GPU alone
    :raises ConfigError: when there is no such precision
    """

    def __init__(self, model: LatentModel, *, precision: str, cuda_graphs: bool) -> None:
        if precision not in PRECISIONS:
            raise ConfigError(f'precision "{precision}": choose one of {", ".join(PRECISIONS)}')
        self._model = model
        self._dtype = PRECISIONS[precision]
        is_on = cuda_graphs and model.device.type == 'cuda'
        self.graphs = Graphs(model.device) if is_on else None
        if self._dtype is not None:
            for module in model.modules():
                if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
                    module.to(self._dtype)
        self._run: dict[Callable, Callable] = {}
        self._predict = self._captured(self._whole(model.predict))
        self._rollout = self._captured(self._whole(model.rollout))
        self._encode = self._captured(self._whole(self._encode_parts))

    def __getattr__(self, name: str) -> Any:
        if name == '_model':  # not there yet: a copy is being made
            raise AttributeError(name)
        return getattr(self._model, name)

    def encode(self, observation: Observation) -> Tensor:
        """As :meth:`~grasp_ros.world_models.base.WorldModel.encode`."""
        observation.check(self.card)
        parts = [observation.images[name] for name in self.card.cameras]
        if self.card.proprioception:
            parts.append(observation.proprioception)
        if self.card.frames > 1:
            parts.append(observation.actions)
        return self._encode(*parts)

    def run(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """As :meth:`~grasp_ros.world_models.base.WorldModel.run`."""
        if function not in self._run:
            self._run[function] = self._captured(partial(function, self))
        return self._run[function](*inputs)

    def predict(self, context: Tensor, actions: Tensor) -> Tensor:
        """As :meth:`~grasp_ros.world_models.base.WorldModel.predict`."""
        return self._predict(context, actions)

    def rollout(self, context: Tensor, actions: Tensor) -> Tensor:
        """As :meth:`~grasp_ros.world_models.base.WorldModel.rollout`."""
        return self._rollout(context, actions)

    def predict_with_vjp(
        self, context: Tensor, actions: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """As :meth:`~grasp_ros.world_models.base.WorldModel.predict_with_vjp`."""
        return self._with_vjp(self._model.predict_with_vjp, context, actions)

    def rollout_with_vjp(
        self, context: Tensor, actions: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """As :meth:`~grasp_ros.world_models.base.WorldModel.rollout_with_vjp`."""
        return self._with_vjp(self._model.rollout_with_vjp, context, actions)

    def position(self, latent: Tensor) -> Tensor | None:
        """As :meth:`~grasp_ros.world_models.base.WorldModel.position`."""
        with self._precision():
            place = self._model.position(latent)
        return None if place is None else place.float()

    def _captured(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function if self.graphs is None else Captured(function, self.graphs)

    def _with_vjp(
        self, function: Callable, context: Tensor, actions: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        if self._dtype is None:
            return function(context, actions)
        with self._precision():
            latents, pullback = function(context, actions)
        kind = latents.dtype
        return latents.float(), lambda cotangent: pullback(cotangent.to(kind)).float()

    def _encode_parts(self, *parts: Tensor) -> Tensor:
        card, rest = self.card, list(parts)
        images = {name: rest.pop(0) for name in card.cameras}
        proprioception = rest.pop(0) if card.proprioception else None
        return self._model.encode(Observation(images, proprioception, rest[0] if rest else None))

    def _whole(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The function in this precision, with a result in float32."""
        if self._dtype is None:
            return function

        def whole(*inputs: Tensor) -> Tensor:
            with self._precision():
                return function(*inputs).float()

        return whole

    def _precision(self) -> Any:
        return torch.autocast(
            self.device.type, dtype=self._dtype, enabled=self._dtype is not None
        )


def accelerate(model: LatentModel, *, precision: str, cuda_graphs: bool) -> WorldModel:
    """The model itself where there is nothing to accelerate, else one that was tried.

    :param model: on its device, tried
    :raises ConfigError: when there is no such precision
    :raises ModelError: when the model cannot be run so, with the parameters that turn it off
    """
    fast = Accelerated(model, precision=precision, cuda_graphs=cuda_graphs)
    if precision == 'float32' and fast.graphs is None:
        return model
    try:
        for _ in range(2):  # what is captured is captured when it is called again
            contract.check(fast)
    except GraspError as error:
        if precision == 'float32':
            raise
        raise ModelError(f'{error}; without that: model.precision: float32') from error
    return fast
