# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Feedback: the first action after the frame, against a plain minimisation."""

from dataclasses import replace

import pytest
import tiny_world
import torch

from grasp_ros.errors import SolveError
from grasp_ros.planners import feedback as module
from grasp_ros.planners import registry
from grasp_ros.planners.base import Branches, Deadline
from grasp_ros.planners.feedback import Feedback
from grasp_ros.planners.rollout import ranked


class CountingModel(tiny_world.TinyModel):
    """Counts what it is asked."""

    calls = rows = 0

    def predict(self, context, actions):
        self.calls, self.rows = self.calls + 1, self.rows + len(context)
        return super().predict(context, actions)


def prepared(*, horizon=6, alone=False, dtype=torch.float64, **settings):
    """A model, the problem as predicted, and a plan that waits for its frame."""
    model = CountingModel(tiny_world.CARD)
    problem = tiny_world.problem(model, dtype=dtype, goal=(0.25, 0.33))
    problem = replace(problem, awaits_frame=True)
    planner = registry.make('grasp', model, **{**tiny_world.GRASP, 'horizon': horizon, **settings})
    plan = planner.solve(problem, None, Deadline())
    if alone:
        branches = ranked(model, problem, plan.actions[None], running_weight=1.0)
        plan = replace(plan, branches=branches)
    return model, problem, Feedback.prepare(model, plan, problem)


def seen_elsewhere(problem, by=0.003):
    return replace(problem, context=problem.context + by)


def energy(model, problem, target, action):
    """E(a_0) of the module's docstring."""
    blocks = torch.cat((problem.past_actions, action.unsqueeze(0)))
    latent = model.predict(problem.context.unsqueeze(0), blocks.unsqueeze(0))
    return model.cost(latent, target).sum()


def test_one_undamped_update_minimises_the_energy_of_a_linear_model(monkeypatch):
    monkeypatch.setattr(module, 'DAMPING', 1e-9)
    model, problem, feedback = prepared(alone=True)
    seen = seen_elsewhere(problem)
    action = feedback.correct(model, seen, updates=1).actions[0]
    assert problem.limits.low.lt(action).all() and problem.limits.high.gt(action).all()
    action.requires_grad_(True)
    target = feedback.plan.rollout[0]
    gradient, = torch.autograd.grad(energy(model, seen, target, action), action)
    before = feedback.plan.actions[0].requires_grad_(True)
    start, = torch.autograd.grad(energy(model, seen, target, before), before)
    assert gradient.norm() < 1e-5 * start.norm()


def test_damped_updates_lower_the_energy_and_the_second_does_so_further(monkeypatch):
    monkeypatch.setattr(module, 'DAMPING', 1.0)
    model, problem, feedback = prepared(alone=True)
    seen, target = seen_elsewhere(problem), feedback.plan.rollout[0]
    energies = [
        float(energy(model, seen, target, feedback.correct(model, seen, updates=n).actions[0]))
        for n in range(3)
    ]
    assert energies[2] < energies[1] < energies[0]


def test_without_updates_the_plan_stays_and_the_model_is_not_asked():
    model, problem, feedback = prepared()
    model.calls = 0
    assert feedback.correct(model, seen_elsewhere(problem), updates=0) is feedback.plan
    assert model.calls == 0


@pytest.mark.parametrize('updates', [1, 2])
def test_the_work_after_the_frame_does_not_grow_with_the_horizon(updates):
    work = set()
    for horizon in (5, 50):
        model, problem, feedback = prepared(horizon=horizon, restarts=3)
        model.calls = model.rows = 0
        feedback.correct(model, seen_elsewhere(problem), updates=updates)
        work.add((model.calls, model.rows))
    assert work == {(updates, updates * len(feedback.plan.branches.costs))}


@pytest.mark.parametrize('rate', [None, (0.02, 0.02)])
def test_the_model_is_asked_for_no_action_beyond_the_limits(rate):
    model, problem, feedback = prepared()
    limits = tiny_world.limits(rate)
    # With a rate limit: the command before was one bound, and the plan leads to the other.
    problem = replace(problem, limits=limits, previous_action=limits.low.to(torch.float64))
    asked = []
    predict = model.predict
    model.predict = lambda context, actions: asked.append(actions[:, -1]) or predict(
        context, actions
    )
    for bound in (limits.low, limits.high):
        actions = bound.to(torch.float64).expand(1, 6, 2, 2)
        actions = limits.project(actions, problem.previous_action)
        branches = ranked(model, problem, actions, running_weight=1.0)
        Feedback.prepare(model, replace(feedback.plan, branches=branches), problem)
    asked = torch.cat(asked)
    assert bool((asked >= limits.low - 1e-6).all() and (asked <= limits.high + 1e-6).all())


def at_full_thrust(sign, *, goal, rate=None):
    """A plan with every action at its limit, from the middle; and how it is corrected."""
    model = tiny_world.TinyModel(tiny_world.CARD)
    limits = tiny_world.limits(rate and (rate, rate))
    problem = tiny_world.problem(
        model, dtype=torch.float64, start=(0.5, 0.5), goal=goal, limits=limits
    )
    actions = sign * torch.full((1, 6, 2, 2), 9.0, dtype=torch.float64)
    actions = limits.project(actions, problem.previous_action)
    problem = replace(problem, awaits_frame=True)
    planner = registry.make('grasp', model, **{**tiny_world.GRASP, 'horizon': 6})
    plan = replace(
        planner.solve(problem, None, Deadline()),
        branches=ranked(model, problem, actions, running_weight=1.0),
    )
    feedback = Feedback.prepare(model, plan, problem)

    def taken_away(ahead):
        """By how much less the first action is when the robot is seen further ahead, metres."""
        shift = sign * ahead * torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
        seen = replace(problem, context=problem.context + shift)
        first = feedback.correct(model, seen, updates=1).actions[0]
        assert (first <= limits.high).all() and (first >= limits.low).all()
        return float((sign * (actions[0, 0] - first)).max())

    return taken_away


@pytest.mark.parametrize('rate', [None, 0.05])
@pytest.mark.parametrize('sign', [1.0, -1.0])
def test_noise_takes_nothing_from_full_thrust_while_the_plan_wants_more(sign, rate):
    beyond = (0.5 + sign * 0.5, 0.5 + sign * 0.5)
    taken_away = at_full_thrust(sign, goal=beyond, rate=rate)
    assert taken_away(0.002) < 1e-6 and taken_away(-0.002) < 1e-6
    assert taken_away(1.0) > 0.02, 'a push as large as that gets through'


def test_an_entry_at_its_limit_does_not_carry_the_free_ones_of_its_block_along():
    model, problem, feedback = prepared()
    limits = tiny_world.limits((0.05, 0.05))
    actions = torch.zeros(1, 6, 2, 2, dtype=torch.float64)
    actions[:, 0, 0] = 0.05  # as far as the rate limit allows, and the second command is zero
    problem = replace(problem, limits=limits, previous_action=torch.zeros(2, dtype=torch.float64))
    branches = ranked(model, problem, actions, running_weight=1.0)
    branches = replace(branches, beyond=torch.zeros_like(actions[:, 0]))
    branches.beyond[:, 0] = 0.6
    plan = replace(feedback.plan, branches=branches)
    corrected = Feedback.prepare(model, plan, problem).correct(model, problem, updates=1)
    torch.testing.assert_close(corrected.actions[0], actions[0, 0])


@pytest.mark.parametrize('sign', [1.0, -1.0])
def test_full_thrust_that_the_plan_would_rather_end_is_corrected_as_any_action(sign):
    taken_away = at_full_thrust(sign, goal=(0.5, 0.5))
    assert taken_away(0.002) > 1e-3


def test_looking_beyond_active_limits_takes_no_rollout_of_its_own():
    model, problem, _ = prepared(horizon=5)
    actions = problem.limits.high.to(torch.float64).expand(2, 5, 2, 2)
    asked = []
    for awaits_frame in (False, True):
        model.calls = model.rows = 0
        waiting = replace(problem, awaits_frame=awaits_frame)
        branches = ranked(model, waiting, actions, running_weight=1.0)
        asked.append((model.calls, model.rows))
        assert branches.rollouts.shape[:2] == (2, 5) and branches.costs.shape == (2,)
    assert asked[0] == (5, 5 * 2), 'the plans alone'
    assert asked[1] == (5, 5 * (2 + 2 * 2 * 2)), 'and two more for each axis of each plan'


def test_only_the_first_step_changes_and_the_limits_hold():
    model, problem, feedback = prepared()
    seen = replace(
        seen_elsewhere(problem, by=0.2),
        limits=tiny_world.limits((0.02, 0.02)),
        previous_action=torch.full((2,), 0.1, dtype=torch.float64),
    )
    plan = feedback.correct(model, seen, updates=2)
    assert any(torch.equal(plan.actions[1:], a[1:]) for a in feedback.plan.branches.actions)
    assert all((plan.actions[0] != a[0]).any() for a in feedback.plan.branches.actions)
    steps = torch.cat((seen.previous_action.unsqueeze(0), plan.actions[0])).diff(dim=0)
    assert steps.abs().max() <= 0.02 + 1e-9
    blocks = torch.cat((seen.past_actions, plan.actions[:1]))
    expected = model.predict(seen.context.unsqueeze(0), blocks.unsqueeze(0))[0]
    torch.testing.assert_close(plan.rollout[0], expected)


def test_the_plan_whose_next_latent_fits_what_was_seen_takes_over_as_a_whole():
    model, problem, feedback = prepared()
    aside = torch.tensor([[0.2, 0.0], [0.0, 0.2]], dtype=torch.float64)
    here = problem.context[-1].expand(6, 2, 2)
    random = torch.Generator().manual_seed(0)
    branches = Branches(
        actions=0.01 * torch.randn(2, 6, 2, 2, generator=random, dtype=torch.float64),
        rollouts=torch.stack((here, here + aside)),
        costs=torch.tensor([0.010, 0.011], dtype=torch.float64),
        running_weight=1.0,
        beyond=torch.zeros(2, 2, 2, dtype=torch.float64),
    )
    feedback = Feedback.prepare(model, replace(feedback.plan, branches=branches), problem)
    for push, winner in ((0.0, 0), (1.0, 1)):
        seen = replace(problem, context=problem.context + push * aside)
        plan = feedback.correct(model, seen, updates=1)
        assert torch.equal(plan.actions[1:], branches.actions[winner, 1:])
        assert torch.equal(plan.rollout[1:], branches.rollouts[winner, 1:])
        assert plan.cost == float(branches.costs[winner])


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_a_latent_that_is_not_finite_gives_no_action(bad):
    model, problem, feedback = prepared()
    seen = replace(problem, context=torch.full_like(problem.context, bad))
    with pytest.raises(SolveError, match='finite'):
        feedback.correct(model, seen, updates=1)
