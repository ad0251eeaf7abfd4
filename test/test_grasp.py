# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""GRASP against a plain float64 reference; its starts, samples and ranking."""


import math

import pytest
import tiny_world
import torch

from grasp_ros.errors import ConfigError
from grasp_ros.planners import registry
from grasp_ros.planners.base import Deadline, WarmStart
from grasp_ros.planners.rollout import plan_cost, rollout
from grasp_ros.planners.sampling import restart
from grasp_ros.planners.starts import draw_samples, starts

UNLIMITED = Deadline()


@pytest.fixture
def model():
    return tiny_world.TinyModel(tiny_world.CARD)


def reference_iterations(model, problem, states, actions, *, iterations, rate, alpha, gamma):
    """GRASP as the paper states it: one step at a time, autograd on the energy, torch's Adam."""
    states = [state.clone() for state in states]
    actions = actions.clone().requires_grad_(True)
    scaled = torch.optim.Adam([actions], lr=1.0, eps=1e-12)
    horizon = len(actions)
    for _ in range(iterations):
        path = [*problem.context, *states]
        blocks = [*problem.past_actions, *actions]
        predicted, energy = [], 0.0
        for t in range(horizon):
            context = torch.stack(path[t : t + 2]).detach()
            p = model.predict(context[None], torch.stack(blocks[t : t + 2])[None])
            predicted.append(p.detach()[0])
            energy = energy + model.cost(p, states[t].detach()).sum()
            energy = energy + gamma * model.cost(p, problem.goal).sum()
        before = actions.detach().clone()
        scaled.zero_grad()
        energy.backward()
        scaled.step()
        with torch.no_grad():
            step = (actions - before) * rate * problem.limits.half_range
            actions.copy_((before + step).clamp(problem.limits.low, problem.limits.high))
        for t in range(horizon - 1):
            states[t] = states[t] + alpha * (predicted[t] - states[t])
    return torch.stack(states), actions.detach()


def test_grasp_iterations_equal_the_plain_reference(model):
    horizon = 6
    problem = tiny_world.problem(model, dtype=torch.float64)
    fraction = torch.arange(1, horizon + 1, dtype=torch.float64).reshape(-1, 1, 1) / horizon
    line = problem.context[-1] + fraction * (problem.goal - problem.context[-1])
    config = {'iterations': 4, 'action_rate': 0.07, 'state_rate': 0.6, 'goal_weight': 0.3}
    planner = registry.make('grasp', model, horizon=horizon, noise_scale=0.0, samples=0, **config)
    plan = planner.solve(problem, None, UNLIMITED)
    states, actions = reference_iterations(
        model,
        problem,
        line,
        torch.zeros(horizon, 2, 2, dtype=torch.float64),
        iterations=4,
        rate=0.07,
        alpha=0.6,
        gamma=0.3,
    )
    assert plan.source == 'solve'
    torch.testing.assert_close(plan.actions, actions, rtol=0, atol=1e-7)
    torch.testing.assert_close(plan.iterate_states, states, rtol=0, atol=1e-7)


def test_the_default_pullback_is_the_gradient_with_the_states_cut(model):
    problem = tiny_world.problem(model, dtype=torch.float64)
    context = problem.context.unsqueeze(0)
    actions = torch.randn(1, 2, 2, 2, dtype=torch.float64)
    cotangent = torch.randn(1, 2, 2, dtype=torch.float64)
    _, pullback = model.predict_with_vjp(context, actions)
    given = pullback(cotangent)
    for index in range(actions.numel()):
        nudge = torch.zeros_like(actions).flatten()
        nudge[index] = 1e-6
        nudge = nudge.reshape(actions.shape)
        slope = (model.predict(context, actions + nudge) - model.predict(context, actions - nudge))
        expected = float((slope / 2e-6 * cotangent).sum())
        assert float(given.flatten()[index]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('restarts', [1, 2, 5])
def test_grasp_is_never_worse_than_the_warm_start_or_standing_still(model, restarts):
    problem = tiny_world.problem(model, start=(0.5, 0.5), goal=(0.52, 0.5))
    planner = registry.make('grasp', model, **tiny_world.GRASP, horizon=8, iterations=80)
    good = planner.solve(problem, None, UNLIMITED)
    warm_start = WarmStart(
        actions=good.actions, states=good.iterate_states, incumbent=good.actions
    )
    # One iteration with a huge step spoils every iterate; the warm start must then be the answer.
    wild = registry.make(
        'grasp', model, horizon=8, iterations=1, action_rate=5.0, restarts=restarts
    )
    plan = wild.solve(problem, warm_start, UNLIMITED)
    assert plan.cost <= good.cost + 1e-6
    assert plan.source == 'incumbent'
    assert torch.equal(plan.actions, good.actions)
    there = tiny_world.problem(model, start=(0.5, 0.5), goal=(0.5, 0.5))
    plan = wild.solve(there, None, UNLIMITED)
    assert plan.source == 'safe_action'
    assert not plan.actions.any()


def test_the_same_problem_gives_the_same_plan_and_another_tick_another(model):
    planner = registry.make('grasp', model, horizon=8, noise_scale=0.1, restarts=3)
    problem = tiny_world.problem(model)
    first, second = (planner.solve(problem, None, UNLIMITED) for _ in range(2))
    assert torch.equal(first.actions, second.actions)
    other = planner.solve(tiny_world.problem(model, tick=1), None, UNLIMITED)
    assert not torch.equal(first.actions, other.actions)


def test_without_noise_a_single_start_does_not_depend_on_the_tick(model):
    planner = registry.make('grasp', model, horizon=8, noise_scale=0.0, samples=0)
    plans = [
        planner.solve(tiny_world.problem(model, tick=tick), None, UNLIMITED) for tick in (0, 7)
    ]
    assert torch.equal(plans[0].actions, plans[1].actions)


def test_sync_lowers_the_terminal_cost_of_the_rollout(model):
    problem = tiny_world.problem(model)
    costs = []
    for sync_every in (0, 5):
        planner = registry.make(
            'grasp',
            model,
            horizon=10,
            iterations=10,
            action_rate=0.0,
            running_weight=0.0,
            samples=0,
            sync_every=sync_every,
            sync_steps=5,
        )
        costs.append(planner.solve(problem, None, UNLIMITED).cost)
    assert costs[1] < 0.8 * costs[0]


def test_a_warm_start_that_is_not_finite_does_not_win_and_stops_nothing(model):
    nan = torch.full((4, 2, 2), math.nan)
    broken = WarmStart(actions=nan, states=None, incumbent=nan)
    planner = registry.make('grasp', model, horizon=4)
    plan = planner.solve(tiny_world.problem(model), broken, UNLIMITED)
    assert torch.isfinite(plan.actions).all()


def test_samples_find_the_way_that_no_descent_leads_to(model):
    """The cheapest sample competes, comes back as the shifted plan, and seeds the restarts."""
    problem = tiny_world.problem(model)
    quiet = {'horizon': 10, 'iterations': 1, 'action_rate': 0.0, 'noise_scale': 0.0}
    costs = []
    for samples in (0, 8, 64):
        planner = registry.make('grasp', model, samples=samples, **quiet)
        costs.append(planner.solve(problem, None, UNLIMITED).cost)
    assert costs[2] < costs[1] < costs[0]


def test_half_of_the_samples_stay_with_the_plan_and_half_use_the_whole_range(model):
    plan = torch.full((6, 2, 2), 0.1)
    drawn = draw_samples(
        model, tiny_world.problem(model), WarmStart(actions=-plan, states=None, incumbent=plan),
        restart(torch.Generator(), seed=0, tick=0),
        count=40, horizon=6, spread=0.0, running_weight=1.0,
    )  # fmt: skip
    others = drawn.actions[(drawn.actions != plan).flatten(1).any(dim=1)]
    assert len(others) == 20
    high = tiny_world.limits().high
    assert bool((others.abs().amax(dim=(0, 1, 2)) == high).all())
    assert float((others.abs() == high).float().mean()) > 0.3


def test_restarts_begin_at_the_cheapest_samples_on_their_own_rollouts(model):
    problem = tiny_world.problem(model)
    size = {'horizon': 6, 'spread': 0.5, 'running_weight': 1.0}
    random = restart(torch.Generator(), seed=0, tick=0)
    drawn = draw_samples(model, problem, None, random, count=9, **size)
    torch.testing.assert_close(drawn.rollouts, rollout(model, problem, drawn.actions))
    costs = plan_cost(model, problem.goal, drawn.rollouts, 1.0)
    torch.testing.assert_close(costs, costs.sort().values)
    random = restart(torch.Generator(), seed=0, tick=0)
    start = starts(model, problem, None, random, restarts=4, samples=9, **size)
    assert torch.equal(start.actions[1:], drawn.actions[:3])
    assert torch.equal(start.latents[1:, 2:-1], drawn.rollouts[:3, :-1])
    assert torch.equal(start.latents[:, -1], problem.goal.expand(4, 2, 2))
    assert torch.equal(start.best_sample, drawn.actions[:1])
    with pytest.raises(ConfigError, match='restarts - 1 = 3'):
        registry.make('grasp', model, restarts=4, samples=2)
