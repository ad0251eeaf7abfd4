# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""GRASP, the Gradient RelAxed Stochastic Planner (arXiv 2602.00475), made for a control loop.

The intermediate latents s_1 … s_{T-1} are decision variables beside the actions. With
p_t = F(s_t, a_t) for all t and all restarts in ONE batched call, one iteration on the lifted
energy ``L = sum_t c(F(sg(s_t), a_t), s_{t+1}) + gamma sum_t c(F(sg(s_t), a_t), g)`` is

    states    s_{t+1} <- s_{t+1} + alpha (p_t - s_{t+1}) + sigma xi,   xi ~ N(0, I), t = 0 … T-2
    actions   a_t     <- a_t - eta Adam( J_a F(s_t, a_t)^T [dc(p_t, s_{t+1}) + gamma dc(p_t, g)] )

where sg is the stop-gradient and both terms are measured by the model's own cost c. The state
step is the closed form of a gradient step with alpha = 2 eta_s, so no autograd runs through the
states; the action step is one vector-Jacobian product. s_0 and s_T = g are never moved. Action
steps are in units of half the action range.

The energy, its cut, the noise, the noised straight line that a cold start begins with, the sync
after every K iterations, and the linear decay of sigma and gamma inside each sync phase are the
paper's. Each can be switched off: noise_scale = 0, state_rate = 1 (a Jacobi rollout),
goal_weight = 0, sync_every = 0, decays of 0.

What the paper leaves open, and what is done here:

- *Ranking.* :func:`grasp_ros.planners.rollout.plan_cost`, terminal plus running. The last iterate
  of every restart, the shifted previous plan, standing still, and with fresh lifted states some
  iterates on the way compete in one batched rollout, so that nothing worse than the previous plan
  or than standing still is ever the answer.
- *Going on.* The next solve goes on from this solve's last iterate, not from the plan that won.
- *The tail* of a shifted warm start: :func:`grasp_ros.control.warm_start.shift`, the last action
  again, and the goal as the new lifted states.
- *Optimiser moments* start at zero in every solve, and in every sync.
- *Rates.* alpha = 2 eta_s of the plain step; the author's 0.1 is a rate of Adam on the states.
- *Sync* descends the cost that ranks, and keeps the lifted states as they were, as the author
  does: :mod:`grasp_ros.planners.sync`.
- *The cold start* has no budget of its own: the controller goes on from it in the next tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from grasp_ros.errors import ConfigError
from grasp_ros.planners.adam import adam_step, correction
from grasp_ros.planners.base import Deadline, Plan, Problem, WarmStart, require
from grasp_ros.planners.lifted import CapturedIteration, Lifted, Weights
from grasp_ros.planners.sampling import restart
from grasp_ros.planners.solver import Refiner
from grasp_ros.planners.starts import require_starts
from grasp_ros.planners.sync import cem_sync, gradient_sync
from grasp_ros.planners.windows import fold, windows
from grasp_ros.world_models.base import WorldModel


@dataclass(frozen=True)
class GraspConfig:
    """Settings of :class:`Grasp`; all dimensionless.

    :param horizon: T, model steps that are planned
    :param iterations: lifted iterations in one solve
    :param restarts: R, starts that are refined side by side in one batch
    :param noise_scale: sigma, noise on the lifted states in units of the latent's scale; 0 = none
    :param action_rate: eta, Adam rate of the actions in units of half the action range
    :param state_rate: alpha = 2 eta_s in (0, 1]; 1 is a Jacobi rollout
    :param goal_weight: gamma, weight of the dense goal term
    :param running_weight: weight of the running term in the cost that ranks plans
    :param noise_decay: part of sigma that has gone at the end of each sync phase, linearly;
        without a sync, at the end of the solve
    :param goal_decay: the same for gamma
    :param sync_every: K, iterations between two syncs; 0 = no sync
    :param sync_steps: gradient steps through the serial rollout in one sync
    :param sync_rate: Adam rate of these steps, in units of half the action range
    :param sync_samples: 0 = sync by gradient; else by one refit of CEM with so many samples
    :param sync_elites: of them, whose mean is taken
    :param samples: plans that are drawn in each solve; the cheapest R - 1 are the further restarts
    :param sample_spread: standard deviation of those drawn around the shifted plan, in units of
        half the action range
    :param seed: of the noise and of the restarts
    :raises ConfigError: when a value is out of range
    """

    horizon: int = 40
    iterations: int = 10
    restarts: int = 1
    noise_scale: float = 0.01
    action_rate: float = 0.15
    state_rate: float = 0.3
    goal_weight: float = 1.0
    running_weight: float = 1.0
    noise_decay: float = 0.0
    goal_decay: float = 0.0
    sync_every: int = 0
    sync_steps: int = 3
    sync_rate: float = 0.05
    sync_samples: int = 0
    sync_elites: int = 8
    samples: int = 32
    sample_spread: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        require_starts(self)
        require(
            self,
            at_least={
                'horizon': 1, 'iterations': 1, 'sync_every': 0, 'sync_steps': 1,
                'sync_samples': 0, 'sync_elites': 1,
            },
            finite=(
                'noise_scale', 'action_rate', 'goal_weight', 'running_weight', 'sync_rate',
            ),
        )
        if not 0 < self.state_rate <= 1:
            raise ConfigError(f'state_rate must lie in (0, 1], is {self.state_rate}')
        for name in ('noise_decay', 'goal_decay'):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f'{name} must lie in [0, 1], is {getattr(self, name)}')
        if self.sync_samples and self.sync_samples < self.sync_elites:
            raise ConfigError(
                f'sync_samples must be 0 or at least sync_elites = {self.sync_elites}, '
                f'is {self.sync_samples}'
            )


PAPER = MappingProxyType[str, Any]({
    'iterations': 200, 'restarts': 1, 'noise_scale': 0.01, 'noise_decay': 0.0,
    'action_rate': 0.01, 'state_rate': 0.2, 'goal_weight': 1.0, 'goal_decay': 0.0,
    'running_weight': 0.0, 'sync_every': 50, 'sync_steps': 10, 'sync_rate': 0.05,
    'sync_samples': 0, 'samples': 0,
})  # fmt: skip
"""The author's settings; the defaults of :class:`GraspConfig` are those for a control loop."""


class Grasp(Refiner):
    """The planner of :class:`GraspConfig` on one world model.

    :param model: the world model F
    :param config: settings
    """

    name = 'grasp'

    def __init__(self, model: WorldModel, config: GraspConfig) -> None:
        super().__init__(model, config)
        # Noise on the states is too much to be drawn on the host and brought to a GPU.
        self._there = torch.Generator(device=model.device)
        self._captured: CapturedIteration | None = None
        self._seen: tuple = ()  # shapes of the last solve that was not captured

    @torch.no_grad()
    def solve(
        self, problem: Problem, warm_start: WarmStart | None, deadline: Deadline
    ) -> Plan:
        """Refine the warm start, or a noised straight line, until iterations or time are up.

        :raises SolveError: when no candidate has a finite cost
        """
        config, model = self.config, self.model
        random = self._random(problem)
        line_noise = config.noise_scale * model.card.latent_scale
        start = self._starts(problem, warm_start, random, line_noise=line_noise)
        lifted = Lifted.begin(problem, start.latents, start.actions)
        is_fresh = warm_start is None or warm_start.states is None
        earlier = list(start.best_sample)
        iterate, lifted = self._iterating(lifted)
        for iteration in self._pace.iterations(config.iterations, deadline):
            # After 1, 2, 4, 8, … iterations from fresh lifted states. They lower the lifted energy
            # and not the rollout cost, and pass good plans on the way to worse ones.
            if is_fresh and iteration and iteration & (iteration - 1) == 0:
                earlier.append(lifted.actions[0].clone())
            iterate(iteration)
            if config.sync_every and (iteration + 1) % config.sync_every == 0:
                sync = partial(self._sync, lifted, random)
                lifted.actions.copy_(self._pace.aside(deadline, sync, otherwise=lifted.actions))
        return self._best(
            problem, warm_start, deadline, lifted.actions, lifted.states, earlier
        )

    def _iterating(self, lifted: Lifted) -> tuple[Callable[[int], None], Lifted]:
        """What does an iteration, and the tensors that it does it on.

        Captured from the second solve of the same shapes on, where the model allows it; the first
        may be the only one.
        """
        # Ticks count from 0: another stream than that of the plans that are drawn.
        random = restart(self._there, seed=self.config.seed, tick=-1 - lifted.problem.tick)

        def call_by_call(iteration: int) -> None:
            self._iterate(lifted, self._weights(iteration), random)

        graphs = self.model.graphs
        if graphs is None:
            return call_by_call, lifted
        shapes, captured = lifted.shapes, self._captured
        if captured is None or captured.lifted.shapes != shapes:
            if self._seen != shapes or graphs.is_full:
                self._seen = shapes
                return call_by_call, lifted
            weights = [self._weights(n) for n in range(self.config.iterations)]
            captured = CapturedIteration(self._iterate, lifted, random, weights, graphs)
            self._captured = captured
        captured.lifted.take(lifted)
        return captured.replay, captured.lifted

    def _weights(self, iteration: int) -> Weights:
        config = self.config
        noise = config.noise_scale * self._kept(iteration, config.noise_decay)
        return Weights(
            goal=config.goal_weight * self._kept(iteration, config.goal_decay),
            noise=noise * self.model.card.latent_scale,
            rate=config.action_rate * correction(iteration),
        )

    def _kept(self, iteration: int, decay: float) -> float:
        """Factor of a weight that falls linearly inside each sync phase."""
        length = self.config.sync_every or self.config.iterations
        return 1.0 - decay * (iteration % length) / max(1, length - 1)

    def _iterate(self, lifted: Lifted, weights: Weights, random: torch.Generator) -> None:
        """One lifted iteration, in place."""
        config, model, problem, actions = self.config, self.model, lifted.problem, lifted.actions
        restarts, horizon = actions.shape[:2]
        context, blocks = windows(problem, lifted.latents, actions)
        predicted, pullback = model.predict_with_vjp(context, blocks)
        targets = lifted.states
        cotangent = model.cost_gradient(predicted, targets.flatten(0, 1))
        cotangent.add_(model.cost_gradient(predicted, problem.goal).mul_(weights.goal))
        gradient = fold(pullback(cotangent), restarts, horizon)
        states = targets[:, :-1]
        states.lerp_(predicted.reshape(targets.shape)[:, :-1], config.state_rate)
        if config.noise_scale:
            noise = torch.randn(states.shape, generator=random, device=states.device)
            states.add_(noise.mul_(weights.noise))
        if model.has_manifold and states.numel():
            states.copy_(model.project(states.flatten(0, 1)).view_as(states))
        rate = problem.limits.half_range * weights.rate
        adam_step(actions, gradient, lifted.moments, rate)
        actions.copy_(problem.limits.project(actions, problem.previous_action))

    def _sync(self, lifted: Lifted, random: torch.Generator) -> Tensor:
        config, problem, actions, states = (
            self.config, lifted.problem, lifted.actions, lifted.states
        )
        if config.sync_samples:
            return cem_sync(
                self.model, problem, actions, states, random,
                samples=config.sync_samples, elites=config.sync_elites,
                running_weight=config.running_weight,
            )  # fmt: skip
        return gradient_sync(
            self.model, problem, actions, steps=config.sync_steps, rate=config.sync_rate,
            running_weight=config.running_weight,
        )  # fmt: skip
