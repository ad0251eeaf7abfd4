# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every planner promises, the limits that all keep, and their names."""

import math
from dataclasses import replace

import pytest
import tiny_world
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grasp_ros.control.warm_start import shift
from grasp_ros.errors import ConfigError, SolveError
from grasp_ros.planners import registry
from grasp_ros.planners.base import ActionLimits, Deadline, WarmStart
from grasp_ros.planners.rollout import plan_cost, rollout

UNLIMITED = Deadline()
ALL = list(registry.PLANNERS)
ADJUSTABLE = [name for name in ALL if 'iterations' in registry.settings_of(name)]
# A little work, so that the suite stays quick; what is asserted holds for any settings.
SMALL = {'horizon': 8, 'restarts': 3, 'samples': 32, 'iterations': 5}
RANKED = {
    'grasp': {}, 'cem': {'return_best': 1}, 'icem': {'return_best': 1}, 'gradient': {},
    'latco': {}, 'unlifted': {},
}  # fmt: skip


@pytest.fixture
def model():
    return tiny_world.TinyModel(tiny_world.CARD)


def make(name, model, **changes):
    taken = registry.settings_of(name)
    small = {setting: value for setting, value in SMALL.items() if setting in taken}
    return registry.make(name, model, **(small | changes))


def constant(planner, value):
    return torch.full((planner.horizon, 2, 2), value)


def cost_of(model, problem, actions, running_weight=1.0):
    latents = rollout(model, problem, actions[None])
    return float(plan_cost(model, problem.goal, latents, running_weight))


class TickingClock:
    """A clock that moves by a fixed time whenever it is read."""

    def __init__(self, tick_sec):
        self.now_sec, self.tick_sec = 0.0, tick_sec

    def __call__(self):
        self.now_sec += self.tick_sec
        return self.now_sec


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('warm', [False, True])
def test_a_plan_leads_towards_the_goal_within_bounds_and_rate_limit(model, name, warm):
    problem = tiny_world.problem(
        model, limits=tiny_world.limits([0.05, 0.04]), previous_action=torch.tensor([0.1, -0.1])
    )
    planner = make(name, model)
    slow = constant(planner, 0.1)
    warm_start = WarmStart(actions=slow, states=None, incumbent=slow / 2) if warm else None
    plan = planner.solve(problem, warm_start, UNLIMITED)
    assert plan.actions.shape == plan.iterate_actions.shape == (planner.horizon, 2, 2)
    assert plan.iterate_states.shape == plan.rollout.shape == (planner.horizon, 2, 2)
    for actions in (plan.actions, plan.iterate_actions):
        flat = torch.cat((problem.previous_action[None], actions.reshape(-1, 2)))
        assert bool((flat[1:].abs() <= torch.tensor([0.3, 0.2]) + 1e-6).all())
        assert bool((flat.diff(dim=0).abs() <= torch.tensor([0.05, 0.04]) + 1e-6).all())
    still = torch.zeros(planner.horizon, 2, 2)
    weight = planner.config.running_weight
    assert plan.cost == pytest.approx(cost_of(model, problem, plan.actions, weight), abs=1e-5)
    assert plan.cost < cost_of(model, problem, still, weight)
    torch.testing.assert_close(plan.rollout, rollout(model, problem, plan.actions[None])[0])


@pytest.mark.parametrize('name', ALL)
def test_the_same_problem_gives_the_same_plan(model, name):
    problem = tiny_world.problem(model, tick=5)
    first, second = (make(name, model).solve(problem, None, UNLIMITED) for _ in range(2))
    assert torch.equal(first.actions, second.actions)
    assert torch.equal(first.iterate_states, second.iterate_states)


@pytest.mark.parametrize('name', ['cem', 'icem', 'mppi', 'greedy', 'latco', 'gradient'])
def test_another_tick_or_seed_draws_other_numbers(model, name):
    def costs(seed, tick):
        planner = make(name, model, seed=seed)
        return planner.solve(tiny_world.problem(model, tick=tick), None, UNLIMITED).branches.costs

    assert not torch.equal(costs(0, 0), costs(0, 1))
    assert not torch.equal(costs(0, 0), costs(1, 0))


@pytest.mark.parametrize('name', ADJUSTABLE)
def test_a_deadline_ends_a_solve_between_iterations_with_a_plan(model, name):
    planner = make(name, model, iterations=1000)
    problem = tiny_world.problem(model)
    plan = planner.solve(problem, None, Deadline(0.5, clock=TickingClock(0.01)))
    assert 2 <= plan.iterations < 50
    assert plan.stopped == 'deadline'
    assert torch.isfinite(plan.actions).all()
    late = planner.solve(problem, None, Deadline(-1.0, clock=TickingClock(0.01)))
    assert late.iterations == 1
    assert torch.isfinite(late.actions).all()
    full = make(name, model, iterations=2).solve(problem, None, UNLIMITED)
    assert (full.iterations, full.stopped) == (2, 'iterations')


class SlowModel(tiny_world.TinyModel):
    """Every call takes ten seconds of a clock that nothing else moves."""

    clock_sec = 0.0

    def rollout(self, context, actions):
        self.clock_sec += 10.0
        return super().rollout(context, actions)

    def predict(self, context, actions):
        self.clock_sec += 10.0
        return super().predict(context, actions)


@pytest.mark.parametrize('name', ADJUSTABLE)
def test_the_rollout_of_the_answer_is_within_the_deadline_too(name):
    slow = SlowModel(tiny_world.CARD)
    planner = make(name, slow, iterations=1000)
    problem = tiny_world.problem(slow)
    for _ in range(3):
        expires_sec = slow.clock_sec + 3000.0
        plan = planner.solve(problem, None, Deadline(expires_sec, clock=lambda: slow.clock_sec))
        assert plan.iterations > 2
        assert slow.clock_sec <= expires_sec


@pytest.mark.parametrize('name', RANKED)
def test_who_ranks_is_never_worse_than_the_shifted_plan_or_standing_still(model, name):
    problem = tiny_world.problem(model, start=(0.5, 0.5), goal=(0.52, 0.5))
    thorough = registry.make('gradient', model, horizon=8, iterations=200, action_rate=0.03)
    good = thorough.solve(problem, None, UNLIMITED)
    # One iteration far from anything good: only what it was handed can be the answer.
    wild = {'iterations': 1}
    settings = registry.settings_of(name)
    wild |= {'action_rate': 5.0} if 'action_rate' in settings else {'noise_scale': 5.0}
    planner = make(name, model, **RANKED[name], **wild)
    far = constant(planner, 0.3)
    warm_start = WarmStart(actions=far, states=None, incumbent=good.actions)
    plan = planner.solve(problem, warm_start, UNLIMITED)
    assert plan.cost <= good.cost + 1e-6
    torch.testing.assert_close(plan.actions, good.actions)
    there = tiny_world.problem(model, start=(0.5, 0.5), goal=(0.5, 0.5))
    plan = planner.solve(there, None, UNLIMITED)
    assert not plan.actions.any()


@pytest.mark.parametrize('name', ADJUSTABLE)
def test_a_warm_start_saves_work(model, name):
    problem = tiny_world.problem(model)
    once = make(name, model, iterations=1)
    cold = once.solve(problem, None, UNLIMITED)
    plan = cold
    for tick in range(1, 6):
        warm = shift(plan, elapsed_steps=0, horizon=once.horizon, goal=problem.goal)
        plan = once.solve(replace(problem, tick=tick), warm, UNLIMITED)
    assert plan.cost < cold.cost - 0.05


@pytest.mark.parametrize('name', ALL)
def test_a_model_that_is_not_finite_raises(model, name):
    problem = tiny_world.problem(model)
    with pytest.raises(SolveError, match='finite'):
        make(name, model).solve(replace(problem, goal=problem.goal * math.nan), None, UNLIMITED)


@pytest.mark.parametrize('name', ALL)
def test_a_warm_start_that_is_not_finite_never_gives_a_plan_that_is_not(model, name):
    planner = make(name, model)
    nan = constant(planner, math.nan)
    try:
        warm_start = WarmStart(actions=nan, states=None, incumbent=nan)
        plan = planner.solve(tiny_world.problem(model), warm_start, UNLIMITED)
    except SolveError:
        return
    assert torch.isfinite(plan.actions).all()
    assert torch.isfinite(plan.iterate_states).all()


@pytest.mark.parametrize(
    ('name', 'settings', 'reason'),
    [
        ('cem', {'samples': 6, 'elites': 4}, r'elites \+ 3'),
        ('cem', {'return_best': 2}, 'return_best'),
        ('icem', {'samples': 9, 'elites': 10}, 'elites'),
        ('icem', {'keep_fraction': 1.5}, 'keep_fraction'),
        ('icem', {'decay': 0.5}, 'decay'),
        ('icem', {'momentum': 1.0}, 'momentum'),
        ('icem', {'return_best': -1}, 'return_best'),
        ('mppi', {'temperature': 0.0}, 'temperature'),
        ('mppi', {'noise_decay': 0.0}, 'noise_decay'),
        ('mppi', {'samples': 2}, 'samples'),
        ('gradient', {'action_rate': math.nan}, 'action_rate'),
        ('latco', {'tolerance': 0.0}, 'tolerance'),
        ('latco', {'price': -1.0}, 'price'),
        ('unlifted', {'sync_steps': 0}, 'sync_steps'),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(model, name, settings, reason):
    with pytest.raises(ConfigError, match=reason):
        registry.make(name, model, **settings)


sequences = st.lists(
    st.tuples(*[st.floats(-3, 3, width=32)] * 2), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=200)
@given(
    sequence=sequences,
    previous=st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32)),
    change=st.floats(0, 2, width=32),
)
def test_projected_actions_keep_bounds_and_rate_limit(sequence, previous, change):
    limits = ActionLimits(
        low=torch.full((2,), -1.0),
        high=torch.full((2,), 1.0),
        max_change=torch.full((2,), change),
    )
    actions = torch.tensor(sequence).reshape(1, -1, 1, 2)
    previous = torch.tensor(previous)
    kept = limits.project(actions, previous).reshape(-1, 2)
    assert bool((kept.abs() <= 1).all())
    steps = torch.cat((previous[None], kept)).diff(dim=0).abs()
    assert bool((steps <= change + 1e-5).all())
    # As it is defined, over every pair of steps.
    low, high = limits.reach(previous, len(sequence))
    flat = actions.reshape(-1, 2).clamp(low, high)
    times = torch.arange(len(sequence))
    apart = change * (times[:, None] - times).abs()[:, :, None]
    mean = ((flat + apart).amin(dim=1) + (flat - apart).amax(dim=1)) / 2
    torch.testing.assert_close(kept, mean.clamp(low, high), atol=1e-5, rtol=0)


@pytest.mark.parametrize('change', [1e2, 1e6, math.inf])
def test_a_rate_that_is_no_limit_changes_nothing(change):
    ends = torch.full((2,), 0.3)
    limits = ActionLimits(low=-ends, high=ends, max_change=torch.tensor([change] * 2))
    actions = torch.rand(4, 50, 3, 2, generator=torch.Generator().manual_seed(1)) - 0.5
    kept = limits.project(actions, torch.zeros(2))
    torch.testing.assert_close(kept, actions.clamp(-0.3, 0.3), atol=5e-6, rtol=0)


@settings(deadline=None, max_examples=50)
@given(sequence=sequences)
def test_actions_that_keep_the_limits_are_not_changed(sequence):
    limits = ActionLimits(low=torch.full((2,), -3.0), high=torch.full((2,), 3.0))
    actions = torch.tensor(sequence).reshape(1, -1, 1, 2)
    assert torch.equal(limits.project(actions, torch.zeros(2)), actions)
    slow = (actions * 0.01).cumsum(dim=1).clamp(-3, 3)
    gentle = ActionLimits(limits.low, limits.high, max_change=torch.full((2,), 0.1))
    torch.testing.assert_close(gentle.project(slow, slow[0, 0, 0]), slow)


def test_the_registry_names_what_is_wrong(model):
    with pytest.raises(ConfigError, match='grasp, cem, .*, greedy'):
        registry.make('gripper', model)
    with pytest.raises(ConfigError, match='no setting elites'):
        registry.make('grasp', model, elites=3)
    with pytest.raises(ConfigError, match='no setting horizon'):
        registry.make('greedy', model, horizon=9)
    with pytest.raises(ConfigError, match='horizon must be at least 1'):
        registry.make('grasp', model, horizon=0)
    with pytest.raises(ConfigError, match='noise_scale'):
        registry.make('grasp', model, noise_scale=math.nan)
    for setting, value in (('sample_spread', math.inf), ('sync_steps', 0), ('state_rate', 0.0)):
        with pytest.raises(ConfigError, match=setting):
            registry.make('grasp', model, **{setting: value})
    with pytest.raises(ConfigError, match='samples'):
        registry.make('cem', model, samples=5, elites=4)
