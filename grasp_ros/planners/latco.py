# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LatCo: collocation in latent space (Rybkin et al., ICML 2021, arXiv 2106.13229).

States and actions are decision variables, and the dynamics a constraint whose price rises until it
is kept. It differs from GRASP in that nothing is cut: the gradient runs through the state input of
F too. An iteration is one step of Adam on states and actions together, in one flat batched call,
on

    E = c(s_T, g) + mean_t [ w c(s_t, g) + lambda_t v_t ],   v_t = |F(s_t, a_t) - s_{t+1}|^2

followed by ``lambda_t <- lambda_t (v_t / epsilon)^kappa``: a price rises where the dynamics are
violated by more than epsilon and falls where they are kept more closely. The first two terms are
the cost that ranks plans, on lifted states, s_T included. The violation is the mean square over
all of a latent's entries in units of its scale, and not the model's cost: what the cost does not
see would be free, and the descent would use it.

What is chosen here: the paper also raises its multipliers by the logarithm of the violation, but
takes steps of Levenberg-Marquardt, whose systems of equations do not suit a deadline of
milliseconds. It keeps the actions in bounds by a penalty; here they are projected. Prices start
anew in every solve. Lifted states start on the rollout of the actions, or where the warm start has
them: from GRASP's straight line, which keeps no dynamics, the same number of steps gets less far.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grasp_ros.errors import ConfigError
from grasp_ros.planners.adam import adam_step, correction
from grasp_ros.planners.base import Deadline, Plan, Problem, WarmStart, require
from grasp_ros.planners.grasp import GraspConfig
from grasp_ros.planners.rollout import plan_cost, rollout
from grasp_ros.planners.solver import Refiner
from grasp_ros.planners.starts import require_starts
from grasp_ros.planners.windows import windows
from grasp_ros.world_models.base import WorldModel

_PRICES = (1e-4, 1e8)  # beyond these a price does nothing but lose digits


@dataclass(frozen=True)
class LatcoConfig:
    """Settings of :class:`Latco`; all dimensionless.

    :param horizon: T, model steps that are planned
    :param iterations: steps of Adam in one solve
    :param restarts: R, starts that are refined side by side in one batch
    :param action_rate: Adam rate of the actions in units of half the action range
    :param state_rate: Adam rate of the lifted states in units of the latent's scale
    :param price: lambda at the start
    :param price_rate: kappa, how fast prices follow the violation; 0 = not at all
    :param tolerance: epsilon, the violation at which a price stays as it is
    :param samples: plans that are drawn in each solve; the cheapest R - 1 are the further restarts
    :param sample_spread: standard deviation of those drawn around the shifted plan, in units of
        half the action range
    :param running_weight: weight of the running term in the cost that is minimised and ranks
    :param seed: of the restarts
    :raises ConfigError: when a value is out of range
    """

    horizon: int = 20
    iterations: int = 20
    restarts: int = GraspConfig.restarts
    action_rate: float = 0.3
    state_rate: float = 0.05
    price: float = 10.0
    price_rate: float = 0.3
    tolerance: float = 1e-4
    samples: int = GraspConfig.samples
    sample_spread: float = GraspConfig.sample_spread
    running_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_starts(self)
        require(
            self,
            at_least={'horizon': 1, 'iterations': 1},
            finite=(
                'action_rate', 'state_rate', 'price', 'price_rate', 'tolerance',
                'running_weight',
            ),
        )
        if self.tolerance == 0:
            raise ConfigError('tolerance must be positive')


class Latco(Refiner):
    """The planner of :class:`LatcoConfig` on one world model.

    :param model: the world model F
    :param config: settings
    """

    name = 'latco'

    @torch.no_grad()
    def solve(
        self, problem: Problem, warm_start: WarmStart | None, deadline: Deadline
    ) -> Plan:
        """Refine states and actions of the warm start, or of standing still.

        :raises SolveError: when no candidate has a finite cost
        """
        config, model, limits = self.config, self.model, problem.limits
        start = self._starts(problem, warm_start, self._random(problem))
        actions = start.actions
        states = rollout(model, problem, actions)
        if warm_start is not None and warm_start.states is not None:
            states[0] = warm_start.states
        scale = model.card.latent_scale
        action_moments = (torch.zeros_like(actions), torch.zeros_like(actions))
        state_moments = (torch.zeros_like(states), torch.zeros_like(states))
        action_rate = config.action_rate * limits.half_range
        prices = torch.full(states.shape[:2], config.price, dtype=states.dtype,
                            device=states.device)
        earlier = list(start.best_sample)
        for iteration in self._pace.iterations(config.iterations, deadline):
            # After 1, 2, 4, 8, … iterations, as in GRASP: the energy falls, the rollout's cost
            # does not always.
            if iteration and iteration & (iteration - 1) == 0:
                earlier.append(actions[0].clone())
            violation, by_state, by_action = energy_gradient(
                model, problem, states, actions, prices, config.running_weight
            )
            factor = correction(iteration)
            adam_step(states, by_state, state_moments, factor * config.state_rate * scale)
            adam_step(actions, by_action, action_moments, factor * action_rate)
            actions = limits.project(actions, problem.previous_action)
            prices *= (violation / config.tolerance) ** config.price_rate
            prices.clamp_(*_PRICES)
        return self._best(problem, warm_start, deadline, actions, states, earlier)


def energy_gradient(
    model: WorldModel,
    problem: Problem,
    states: Tensor,
    actions: Tensor,
    prices: Tensor,
    running_weight: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The violations v_t, and the gradient of E of the module's docstring.

    :param states: ``[R, T, *latent]``, s_1 … s_T
    :param actions: ``[R, T, k, A]``
    :param prices: lambda, ``[R, T]``
    :return: violations ``[R, T]``, dE/ds and dE/da
    """
    restarts = actions.shape[0]
    with torch.enable_grad():
        states, actions = (leaf.detach().requires_grad_(True) for leaf in (states, actions))
        context = problem.context.expand(restarts, *problem.context.shape)
        latents = torch.cat((context, states), dim=1)
        predicted = model.predict(*windows(problem, latents, actions))
        gap = (predicted - states.flatten(0, 1)) / model.card.latent_scale
        violation = gap.square().flatten(1).mean(dim=1).view(prices.shape)
        energy = plan_cost(model, problem.goal, states, running_weight)
        energy = energy + (prices * violation).mean(dim=1)
        by_state, by_action = torch.autograd.grad(energy.sum(), (states, actions))
    return violation.detach(), by_state, by_action
