# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark: what its episodes charge, what its numbers mean, how traps are graded."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from tiny_world import CARD, TinyModel, problem

from grasp_ros.benchmark import escape
from grasp_ros.benchmark.gain import LinearFeedback
from grasp_ros.benchmark.summary import rate_of, verdict
from grasp_ros.control.config import ControllerConfig
from grasp_ros.control.tick import Tick, TickStatus
from grasp_ros.planners.base import Branches, Plan
from grasp_ros.training import episodes
from grasp_ros.training.episodes import Conditions, Disturbance, run_episode
from grasp_ros.training.statistics import bootstrap, mcnemar
from grasp_ros.training.tasks import episode_tasks, make_world
from grasp_ros.world_models import checkpoint

PERIOD = 0.1


class Clock:
    """Takes the place of the module `time` in the episodes, and only moves when told."""

    def __init__(self):
        self.now_sec = 0.0

    def thread_time(self):
        return self.now_sec

    perf_counter = thread_time


class Stub:
    """A controller that always drives east and takes a given time for it."""

    config = ControllerConfig()

    def __init__(self, clock, *, takes_sec=0.0, prepares_sec=0.0):
        self.model = checkpoint.load('two_rooms')
        self.clock, self.takes_sec, self.prepares_sec = clock, takes_sec, prepares_sec
        self.stamps, self.budgets = [], []

    def reset(self):
        pass

    def encode_goal(self, frame):
        return None

    def set_goal(self, goal):
        pass

    def step(self, frame, *, now_sec, timing):
        self.stamps.append(now_sec)
        self.clock.now_sec += self.takes_sec
        return Tick(action=np.array([0.1, 0.0]), status=TickStatus.SOLVED)

    def prepare(self, *, budget_sec):
        self.budgets.append(budget_sec)
        self.clock.now_sec += self.prepares_sec


@pytest.fixture
def clock(monkeypatch):
    fake = Clock()
    monkeypatch.setattr(episodes, 'time', fake)
    return fake


@pytest.fixture
def task():
    task = episode_tasks('two_rooms', episodes=1, seed=3)[0]
    return SimpleNamespace(task=SimpleNamespace(start=(0.2, 0.2), goal=(0.8, 0.2),
                                                path_length=task.task.path_length),
                           seed=(3, 0), held_out=False, layout=None, escape_horizon=None)


def east(world, stub, task, *, ticks, **conditions):
    """Metres that a stub drives in some ticks, and its episode."""
    episode = run_episode(world, stub, task, conditions=Conditions(**conditions),
                          most_ticks=ticks)
    return world.position[0] - 0.2, episode


def test_a_command_takes_effect_when_it_has_been_computed(clock, task):
    world = make_world('two_rooms')
    distance, _ = east(world, Stub(clock), task, ticks=8)
    late, episode = east(world, Stub(clock, takes_sec=0.5 * PERIOD), task, ticks=8, charge=True)
    free, _ = east(world, Stub(clock, takes_sec=0.5 * PERIOD), task, ticks=8, charge=False)
    assert distance == pytest.approx(0.08, abs=2e-4)
    assert free == pytest.approx(distance)
    assert late == pytest.approx(distance - 0.5 * PERIOD * 0.1, abs=1e-4)
    assert episode.lost_frames == 0


def test_a_solve_of_one_and_a_half_periods_loses_every_other_frame(clock, task):
    world = make_world('two_rooms')
    stub = Stub(clock, takes_sec=1.5 * PERIOD)
    distance, episode = east(world, stub, task, ticks=8, charge=True)
    assert stub.stamps == pytest.approx([0.0, 0.2, 0.4, 0.6])
    assert episode.lost_frames == 4
    assert distance == pytest.approx((8 - 1.5) * PERIOD * 0.1, abs=2e-4)


def test_preparation_is_bounded_by_the_rest_of_the_period_and_not_charged(clock, task):
    stub = Stub(clock, takes_sec=0.3 * PERIOD, prepares_sec=0.6 * PERIOD)
    _, episode = east(make_world('two_rooms'), stub, task, ticks=3, charge=True,
                      prepare_sec=5.0)
    assert stub.budgets == pytest.approx([0.7 * PERIOD] * 3)
    assert episode.lost_frames == 0
    stub = Stub(clock)
    east(make_world('two_rooms'), stub, task, ticks=1, prepare_sec=0.02)
    assert stub.budgets == [0.02]


def test_disturbances_are_the_same_for_fast_and_slow_controllers(clock, task, monkeypatch):
    world, kicks = make_world('two_rooms'), []
    monkeypatch.setattr(world, 'kick', lambda *kick: kicks.append(np.concatenate(kick)))
    disturbance = Disturbance(kick_rate=0.5, kick_distance=0.02, kick_speed=0.1)
    found = []
    for takes_sec in (0.0, 1.5 * PERIOD):
        kicks.clear()
        east(world, Stub(clock, takes_sec=takes_sec), task, ticks=20, charge=True,
             disturbance=disturbance)
        found.append(np.array(kicks))
    assert np.array_equal(found[0], found[1])
    assert 3 < len(found[0]) < 17
    assert np.linalg.norm(found[0][:, :2], axis=1) == pytest.approx(0.02)
    assert np.linalg.norm(found[0][:, 2:], axis=1) == pytest.approx(0.1)


def test_model_error_and_delay_do_what_they_say(clock, task):
    turned = Disturbance(gain=0.5, rotation_deg=90.0, drift=(0.0, 0.1))
    assert turned.command(np.array([0.2, 0.0])) == pytest.approx([0.0, 0.2])
    distance, _ = east(make_world('two_rooms'), Stub(clock), task, ticks=4,
                       disturbance=Disturbance(delay_sec=1.5 * PERIOD))
    assert distance == pytest.approx(2.5 * PERIOD * 0.1, abs=2e-4)


def test_an_episode_ends_early_once_the_goal_is_held_twice_as_long_as_asked_for(clock, task):
    task.task.goal = (0.2, 0.2)
    stub = Stub(clock)
    still = Tick(action=np.zeros(2), status=TickStatus.NO_GOAL)
    stub.step = lambda frame, *, now_sec, timing: still
    world = make_world('two_rooms')
    early = run_episode(world, stub, task, conditions=Conditions(end_early=True))
    whole = run_episode(world, stub, task)
    assert early.held and whole.held
    assert early.ticks == 2 * episodes.HELD_TICKS < whole.ticks


def test_intervals_and_tests_agree_with_scipy():
    random = np.random.default_rng(0)
    values = random.random(40)
    reference = stats.bootstrap((values,), np.mean, method='percentile').confidence_interval
    assert bootstrap([values]) == pytest.approx((reference.low, reference.high), abs=0.01)
    table = [[5, 9], [2, 4]]  # 9 : 2 of the pairs differ
    first = [1] * 5 + [1] * 9 + [0] * 2 + [0] * 4
    second = [1] * 5 + [0] * 9 + [1] * 2 + [0] * 4
    assert mcnemar(first, second) == pytest.approx(
        stats.binomtest(table[0][1], table[0][1] + table[1][0]).pvalue
    )
    assert mcnemar(first, first) == 1.0


def test_seeds_that_differ_widen_the_interval():
    same = bootstrap([[0, 1] * 20] * 3)
    apart = bootstrap([[0] * 38 + [1] * 2, [0, 1] * 20, [0] * 2 + [1] * 38])
    assert np.mean(same) == pytest.approx(np.mean(apart), abs=0.03)
    assert apart[1] - apart[0] > 2 * (same[1] - same[0])


def held(*seeds):
    return {
        str(seed): [{'index': i, 'held': bool(value)} for i, value in enumerate(values)]
        for seed, values in enumerate(seeds)
    }


def test_ahead_and_behind_need_an_interval_without_zero():
    good, bad = held([1] * 20, [1] * 20), held([0] * 15 + [1] * 5, [0] * 12 + [1] * 8)
    assert verdict(good, bad)['verdict'] == 'ahead'
    result = verdict(bad, good)
    assert (result['verdict'], result['only_first'], result['only_second']) == ('behind', 0, 27)
    assert result['difference'] == pytest.approx(-(15 / 20 + 12 / 20) / 2)
    one_less = held([1] * 19 + [0], [1] * 20)
    assert verdict(good, one_less)['verdict'] == 'equal'
    assert verdict(good, {}) is None
    assert rate_of(good, 'held') == pytest.approx(
        {'rate': 1.0, 'ci95': [stats.binomtest(40, 40).proportion_ci(method='wilson').low, 1.0]}
    )


def corridor(costs):
    """Places in a row, each a step from the next."""
    count = len(costs)
    around = [[i - 1, i + 1 if i + 1 < count else -1] for i in range(count)]
    goal = np.arange(count) == count - 1
    return np.array(costs, dtype=float), np.array(around), 0, goal


@pytest.mark.parametrize(
    ('costs', 'horizon'),
    [
        ([5, 4, 3, 2, 1, 0], 0),
        ([5, 4, 3, 4, 5, 2, 0], 3),  # from 3, over 4 and 5, to 2
        ([5, 4, 6, 6, 6, 3, 6, 2, 0], 4),  # the harder of two traps
        ([1, 5, 5, 5, 9], 4),  # the goal counts, whatever the latent says of it
    ],
)
def test_escape_horizon_is_the_way_to_a_lower_place(costs, horizon):
    assert escape.escape_horizon(*corridor(costs)) == horizon


def test_a_trap_without_a_way_out_is_deep():
    costs, around, start, goal = corridor([5, 3, 4, 1, 0])
    around[2][1], around[3][0] = -1, -1
    assert escape.escape_horizon(costs, around, start, goal) == escape.DEEP
    assert [escape.bin_of(n) for n in (0, 1, 3, 4, 6, 7, 12, 13, 20, 21)] == [
        0, 3, 3, 6, 6, 12, 12, 20, 20, escape.DEEP,
    ]


def test_graded_tasks_keep_to_walls_bins_and_seeds(tmp_path):
    model = checkpoint.load('two_rooms_no_metric')
    wanted = {'world': 'staggered_walls', 'seed': 5, 'strata': (0, 12),
              'cache': tmp_path / 'tasks.jsonl'}
    tasks = escape.graded_tasks(model, episodes=2, held_out=True, **wanted)
    for graded in tasks:
        world = make_world('staggered_walls', graded.layout)
        assert world.is_blocked(graded.task.start, graded.task.goal)
        grid = escape._grid(model, 'staggered_walls', graded.layout)
        assert grid.grade(graded.task) == graded.escape_horizon
        for slot in range(grid.neighbours.shape[1]):
            known = grid.neighbours[:, slot] >= 0
            ends = grid.places[grid.neighbours[known, slot]]
            assert not world.geometry.is_blocked(grid.places[known], ends).any()
    more = escape.graded_tasks(model, episodes=3, held_out=True, **wanted)
    assert more[:2] == tasks


def test_a_linear_gain_meets_the_prepared_state_where_the_model_is_linear(monkeypatch):
    monkeypatch.setattr('grasp_ros.benchmark.gain.DAMPING', 0.1)
    model = TinyModel(CARD)
    expected = problem(model)
    action = torch.tensor([[[0.05, -0.02], [0.01, 0.03]]])
    context, past = expected.context.unsqueeze(0), expected.past_actions
    target = model.predict(context, torch.cat((past, action)).unsqueeze(0))
    plan = Plan(actions=action, rollout=target, cost=0.0,
                iterate_actions=action, iterate_states=target, iterations=1, stopped='',
                source='solve', branches=Branches(action[None], target[None], torch.zeros(1), 1.0,
                                                  torch.zeros_like(action)))
    law = LinearFeedback.prepare(model, plan, expected)
    # The robot stands a little east of where it was expected.
    shift = torch.tensor([[0.004, 0.0], [0.0, 0.004]])
    seen = problem(model)
    moved = seen.context.clone()
    moved[-1] += shift
    seen = type(seen)(**{**seen.__dict__, 'context': moved})
    corrected = law.correct(model, seen, updates=0)

    def miss(actions):
        ahead = model.predict(seen.context.unsqueeze(0), torch.cat((past, actions)).unsqueeze(0))
        return float(model.cost(ahead, target[0]))

    assert miss(corrected.actions) < 0.05 * miss(action)
    assert torch.equal(law.correct(model, expected, updates=0).actions, action)
