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

What the paper leaves open, and what is done here:

- *Ranking.* :func:`grasp_ros.planners.rollout.plan_cost`, terminal plus running. The last iterate
  of every restart, the shifted previous plan, standing still, and with fresh lifted states some
  iterates on the way compete in one batched rollout, so that nothing worse than the previous plan
  or than standing still is ever the answer.
- *Going on.* The next solve goes on from this solve's last iterate, not from the plan that won.
- *Optimiser moments* start at zero in every solve.
- *Sync* keeps the lifted states as they were, as the author does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grasp_ros.errors import ConfigError
from grasp_ros.planners.adam import adam_step
from grasp_ros.planners.base import Deadline, Plan, Problem, WarmStart, require
from grasp_ros.planners.rollout import best_plan, plan_cost, rollout
from grasp_ros.planners.sampling import generator
from grasp_ros.planners.starts import start_actions, start_latents
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
    :param sync_every: iterations between two syncs; 0 = no sync
    :param sync_steps: gradient steps through the serial rollout in one sync
    :param sync_rate: Adam rate of these steps, in units of half the action range
    :param restart_spread: standard deviation of the correlated action noise that the restarts
        after the second start from, in units of half the action range
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
    sync_every: int = 0
    sync_steps: int = 3
    sync_rate: float = 0.05
    restart_spread: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self,
            at_least={
                'horizon': 1, 'iterations': 1, 'restarts': 1, 'sync_every': 0, 'sync_steps': 1,
            },
            finite=(
                'noise_scale', 'action_rate', 'goal_weight', 'running_weight', 'sync_rate',
                'restart_spread',
            ),
        )
        if not 0 < self.state_rate <= 1:
            raise ConfigError(f'state_rate must lie in (0, 1], is {self.state_rate}')


class Grasp:
    """The planner of :class:`GraspConfig` on one world model.

    :param model: the world model F
    :param config: settings
    """

    name = 'grasp'

    def __init__(self, model: WorldModel, config: GraspConfig) -> None:
        self.model = model
        self.config = config
        self._ranking_sec = 0.0  # measured cost of the final rollout, kept for the deadline only

    @property
    def horizon(self) -> int:
        """T, model steps."""
        return self.config.horizon

    @torch.no_grad()
    def solve(
        self, problem: Problem, warm_start: WarmStart | None, deadline: Deadline
    ) -> Plan:
        """Refine the warm start, or a noised straight line, until iterations or time are up.

        :raises SolveError: when no candidate has a finite cost
        """
        config, model = self.config, self.model
        random = generator(model.device, seed=config.seed, tick=problem.tick)
        size = {'restarts': config.restarts, 'horizon': config.horizon}
        actions = start_actions(
            problem, warm_start, random, **size, block=model.card.action_block,
            spread=config.restart_spread,
        )
        latents = start_latents(
            problem, warm_start, random, **size,
            deviation=config.noise_scale * model.card.latent_scale,
        )
        moments = (torch.zeros_like(actions), torch.zeros_like(actions))
        noise = self._noise(latents[:, problem.context.shape[0] : -1], random, config.iterations)
        rate = config.action_rate * problem.limits.half_range
        is_fresh = warm_start is None or warm_start.states is None
        earlier: list[Tensor] = []
        iterations, longest_sec = 0, 0.0
        while iterations < config.iterations:
            started_sec = deadline.now()
            if iterations and not deadline.allows(longest_sec + self._ranking_sec):
                break
            # After 1, 2, 4, 8, … iterations from fresh lifted states. They lower the lifted energy
            # and not the rollout cost, and pass good plans on the way to worse ones.
            if is_fresh and iterations and iterations & (iterations - 1) == 0:
                earlier.append(actions[0].clone())
            actions = self._iterate(
                problem, latents, actions, moments, iterations, noise, rate
            )
            iterations += 1
            if config.sync_every and iterations % config.sync_every == 0:
                actions = self._sync(problem, actions)
            longest_sec = max(longest_sec, deadline.now() - started_sec)
        started_sec = deadline.now()
        history = problem.context.shape[0]
        plan = best_plan(
            model,
            problem,
            actions,
            latents[:, history:],
            warm_start,
            earlier=earlier,
            running_weight=config.running_weight,
            iterations=iterations,
            stopped='iterations' if iterations == config.iterations else 'deadline',
        )
        self._ranking_sec = deadline.now() - started_sec
        return plan

    def _noise(self, like: Tensor, random: torch.Generator, draws: int) -> Tensor | None:
        """sigma xi for several iterations, ``[draws, *like.shape]``; None without noise."""
        sigma = self.config.noise_scale * self.model.card.latent_scale
        if sigma == 0:
            return None
        return torch.randn((draws, *like.shape), generator=random, device=like.device).mul_(sigma)

    def _iterate(
        self,
        problem: Problem,
        latents: Tensor,
        actions: Tensor,
        moments: tuple[Tensor, Tensor],
        iteration: int,
        noise: Tensor | None,
        rate: Tensor,
    ) -> Tensor:
        """One lifted iteration, in place on ``latents[:, H:-1]``; gives the new actions."""
        config, model = self.config, self.model
        restarts, horizon = actions.shape[:2]
        context, blocks = windows(problem, latents, actions)
        predicted, pullback = model.predict_with_vjp(context, blocks)
        targets = latents[:, -horizon:]
        cotangent = model.cost_gradient(predicted, targets.flatten(0, 1))
        goal_gradient = model.cost_gradient(predicted, problem.goal)
        cotangent.add_(goal_gradient, alpha=config.goal_weight)
        gradient = fold(pullback(cotangent), restarts, horizon)
        states = targets[:, :-1]
        states.lerp_(predicted.view(targets.shape)[:, :-1], config.state_rate)
        if noise is not None:
            states += noise[iteration]
        adam_step(actions, gradient, moments, iteration, rate)
        return problem.limits.project(actions, problem.previous_action)

    def _sync(self, problem: Problem, actions: Tensor) -> Tensor:
        """Gradient steps on the actions alone through the serial rollout, on c(s_T, g)."""
        config, model = self.config, self.model
        moments = (torch.zeros_like(actions), torch.zeros_like(actions))
        rate = config.sync_rate * problem.limits.half_range
        for step in range(config.sync_steps):
            with torch.enable_grad():
                leaf = actions.detach().requires_grad_(True)
                terminal = rollout(model, problem, leaf)
                loss = plan_cost(model, problem.goal, terminal[:, -1:], 0.0).sum()
                gradient = torch.autograd.grad(loss, leaf)[0]
            actions = actions.clone()
            adam_step(actions, gradient, moments, step, rate)
            actions = problem.limits.project(actions, problem.previous_action)
        return actions
