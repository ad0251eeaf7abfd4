# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""GRASP's sync and its schedules, against plain float64 references."""

import math

import pytest
import tiny_world
import torch

from grasp_ros.errors import ConfigError
from grasp_ros.planners import registry
from grasp_ros.planners.base import Deadline
from grasp_ros.planners.sampling import restart
from grasp_ros.planners.sync import cem_sync, gradient_sync

HORIZON = 5


@pytest.fixture
def model():
    return tiny_world.TinyModel(tiny_world.CARD)


@pytest.fixture
def problem(model):
    return tiny_world.problem(model, dtype=torch.float64)


def some_actions(restarts=2):
    random = torch.Generator().manual_seed(1)
    return 0.05 * torch.randn(restarts, HORIZON, 2, 2, generator=random, dtype=torch.float64)


def plain_rollout(model, problem, actions):
    """One plan, one step at a time, ``[T, *latent]``."""
    path, blocks = list(problem.context), [*problem.past_actions, *actions]
    for t in range(len(actions)):
        context = torch.stack(path[t : t + 2])
        path.append(model.predict(context[None], torch.stack(blocks[t : t + 2])[None])[0])
    return torch.stack(path[2:])


def plain_cost(model, problem, actions, weight):
    costs = model.cost(plain_rollout(model, problem, actions), problem.goal)
    return costs[-1] + weight * costs.mean()


@pytest.mark.parametrize('weight', [0.0, 1.0])
def test_the_sync_by_gradient_is_adam_through_the_rollout(model, problem, weight):
    actions = some_actions()
    found = gradient_sync(model, problem, actions, steps=3, rate=0.05, running_weight=weight)
    for start, end in zip(actions, found, strict=True):
        leaf = start.clone().requires_grad_(True)
        scaled = torch.optim.Adam([leaf], lr=1.0, eps=1e-12)
        for _ in range(3):
            before = leaf.detach().clone()
            scaled.zero_grad()
            plain_cost(model, problem, leaf, weight).backward()
            scaled.step()
            with torch.no_grad():
                step = 0.05 * problem.limits.half_range * (leaf - before)
                leaf.copy_((before + step).clamp(problem.limits.low, problem.limits.high))
        torch.testing.assert_close(end, leaf.detach(), rtol=0, atol=1e-7)


def test_the_sync_by_cem_draws_where_rollout_and_lifted_states_disagree(model, problem):
    actions = some_actions()
    states = torch.stack([plain_rollout(model, problem, plan) for plan in actions])
    states[:, 3] += 0.1
    settings = {'samples': 6, 'elites': 2, 'running_weight': 1.0}
    found = cem_sync(
        model, problem, actions, states, restart(torch.Generator(), seed=0, tick=0), **settings
    )
    moved = (found - actions).abs().amax(dim=(0, 2, 3))
    assert moved[3] > 1e-3
    assert moved[[0, 1, 2, 4]].max() < 1e-6
    random = restart(torch.Generator(), seed=0, tick=0)
    noise = torch.randn((2, 5, HORIZON, 2, 2), generator=random)
    for index, plan in enumerate(actions):
        rolled = plain_rollout(model, problem, plan)
        gap = [float(model.cost(a[None], b)) for a, b in zip(rolled, states[index], strict=True)]
        samples = [plan]
        for draw in noise[index]:
            sample = plan.clone()
            for t in range(HORIZON):
                spread = min(1.0, math.sqrt(gap[t])) * problem.limits.half_range
                sample[t] += spread * draw[t]
            samples.append(sample.clamp(problem.limits.low, problem.limits.high))
        samples.sort(key=lambda plan: float(plain_cost(model, problem, plan, 1.0)))
        expected = (samples[0] + samples[1]) / 2
        torch.testing.assert_close(found[index], expected, rtol=0, atol=1e-6)


def test_a_sync_lowers_the_cost_and_leaves_a_plan_that_is_not_finite_alone(model, problem):
    actions = some_actions()
    states = torch.stack([plain_rollout(model, problem, plan) for plan in actions]) + 0.2
    actions[1, 0] = math.nan
    found = cem_sync(
        model, problem, actions, states, restart(torch.Generator(), seed=0, tick=0),
        samples=64, elites=8, running_weight=0.0,
    )  # fmt: skip
    before, after = (plain_cost(model, problem, plan, 0.0) for plan in (actions[0], found[0]))
    assert after < before
    assert torch.equal(found[1].isnan(), actions[1].isnan())


@pytest.mark.parametrize('settings', [{'sync_samples': 0}, {'sync_samples': 32}])
def test_grasp_with_a_sync_plans_better_than_without(model, settings):
    problem = tiny_world.problem(model)
    costs = []
    for sync_every in (0, 2):
        planner = registry.make(
            'grasp', model, horizon=8, iterations=4, sync_every=sync_every, **settings
        )
        costs.append(planner.solve(problem, None, Deadline()).cost)
    assert costs[1] < costs[0]


def test_noise_and_goal_weight_fall_linearly_inside_a_sync_phase(model):
    planner = registry.make('grasp', model, iterations=12, sync_every=4, noise_decay=0.5)
    kept = [planner._kept(iteration, 0.5) for iteration in range(6)]
    assert kept == pytest.approx([1, 1 - 0.5 / 3, 1 - 1 / 3, 0.5, 1, 1 - 0.5 / 3])
    alone = registry.make('grasp', model, iterations=3)
    assert [alone._kept(iteration, 1.0) for iteration in range(3)] == [1, 0.5, 0]


@pytest.mark.parametrize('part', ['noise', 'goal'])
def test_a_decay_changes_the_plan_after_the_first_iteration_alone(model, part):
    problem = tiny_world.problem(model, dtype=torch.float64)
    same = {'horizon': 6, 'noise_scale': 0.05, 'action_rate': 0.05}
    for iterations, differs in ((1, False), (4, True)):
        plans = [
            registry.make(
                'grasp', model, iterations=iterations, **same, **{f'{part}_decay': decay}
            ).solve(problem, None, Deadline())
            for decay in (0.0, 1.0)
        ]
        equal = torch.equal(plans[0].iterate_states, plans[1].iterate_states)
        assert equal is not differs


def test_the_papers_settings_run_as_one_planner(model):
    planner = registry.make('grasp_paper', model, horizon=6)
    assert (planner.config.iterations, planner.config.sync_every) == (200, 50)
    plan = planner.solve(tiny_world.problem(model), None, Deadline())
    assert plan.iterations == 200
    assert plan.source == 'solve'
    with pytest.raises(ConfigError, match='no setting goal_weight'):
        registry.make('grasp_paper', model, goal_weight=2.0)


@pytest.mark.parametrize(
    'wrong', [{'noise_decay': 1.5}, {'goal_decay': -0.1}, {'sync_samples': 4, 'sync_elites': 8}]
)
def test_settings_out_of_range_are_named(model, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        registry.make('grasp', model, **wrong)
