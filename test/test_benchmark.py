# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark: what its numbers mean, that pairs are pairs, and that it goes on when killed."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from scipy import stats
from tiny_world import CARD, TinyModel, problem

from grasp_ros.benchmark import cells, escape, run, tune
from grasp_ros.benchmark.command import command
from grasp_ros.benchmark.gain import LinearFeedback
from grasp_ros.benchmark.lines import Lines
from grasp_ros.benchmark.suite import Entry, Suite, Task, load
from grasp_ros.benchmark.summary import rate_of, verdict
from grasp_ros.control.config import ControllerConfig
from grasp_ros.control.tick import Tick, TickStatus
from grasp_ros.errors import ConfigError
from grasp_ros.planners.base import Branches, Plan
from grasp_ros.planners.grasp import GraspConfig
from grasp_ros.training import episodes
from grasp_ros.training.episodes import Conditions, Disturbance, run_episode
from grasp_ros.training.statistics import bootstrap, mcnemar
from grasp_ros.training.tasks import episode_tasks, make_world
from grasp_ros.world_models import checkpoint

PERIOD = 0.1
SUITE = {
    'tasks': {'rooms': {'models': {0: 'two_rooms', 1: 'two_rooms_no_metric'}}},
    'deadlines_ms': [2],
    'episodes': 2,
    'seeds': {'tuning': 1, 'reporting': 2, 'feedback': 3},
    'prepare_ms': 2,
    'tuning': {
        'deadlines_ms': [2],
        'trials': 2,
        'rungs': [{'keep': 2, 'episodes': 1}, {'keep': 1, 'episodes': 2}],
    },
    'planners': {
        'grasp': {
            'planner': 'grasp',
            'fixed': {'iterations': 2},
            'space': {'horizon': [10, 20], 'action_rate': {'log': [0.1, 0.3]}},
        },
        'cem': {'planner': 'cem'},
    },
    'ablation': {'deadline_ms': 2, 'variants': {'no gradient': {'action_rate': 0.0},
                                                'not used': {'sync_every': 0}}},
    'feedback': {
        'tasks': ['rooms'],
        'episodes': 1,
        'prepare_ms': 5,
        'tuned_ms': 2,
        'blind': 'uncorrected',
        'subject': 'gain',
        'disturbances': {'kicks': {'kick_rate': 0.2, 'kick_distance': 0.03}},
        'arms': {
            'full': {'planner': 'cem', 'charge': [False]},
            'uncorrected': {'planner': 'cem', 'charge': [True],
                            'settings': {'schedule': 'ahead', 'feedback_updates': 0}},
            'gain': {'planner': 'cem', 'law': 'gain', 'charge': [True],
                     'settings': {'schedule': 'ahead'}, 'episodes': {'kicks': 2}},
        },
    },
    'latency': {'task': 'rooms', 'horizons': [5], 'ticks': 3,
                'planners': {'cem': {'planner': 'cem'}}},
}  # fmt: skip


def with_feedback(**changes):
    return {'feedback': {**SUITE['feedback'], **changes}}


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


@pytest.fixture
def suite_file(tmp_path):
    file = tmp_path / 'suite.yaml'
    file.write_text(yaml.safe_dump(SUITE, sort_keys=False))
    return file


def call(*arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.timeout(400)
def test_a_killed_run_goes_on_and_reports(suite_file, tmp_path):
    out = tmp_path / 'out'
    arguments = ('--suite', str(suite_file), '--models', str(tmp_path), '--out', str(out))
    program = 'import sys; from grasp_ros.cli import main; main()'
    process = subprocess.Popen(
        [sys.executable, '-c', program, 'benchmark', 'tune', *arguments, '--jobs', '2'],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (found := [f for f in out.glob('cells/tune/*') if f.stat().st_size]):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until_quiet(found[0])
    before = found[0].read_bytes()
    found[0].write_bytes(before + b'{"index": 0, "hel')  # what a kill inside a write leaves
    call('all', *arguments)
    assert found[0].read_bytes().startswith(before)
    for file in out.glob('cells/*/*'):
        lines = Lines(file).read()
        keys = [(line['index'], str(line.get('settings'))) for line in lines]
        assert len(set(keys)) == len(keys), file

    data = json.loads((out / 'results.json').read_text())
    assert {(row['entry'], row['deadline_ms']) for row in data['scores']} == {
        ('greedy', 0.0), ('grasp', 2), ('cem', 2),
    }
    assert all(row['episodes'] == 4 for row in data['scores'])
    assert data['claims'][0]['peer'] == 'cem'
    assert data['claims'][0]['verdict'] in ('ahead', 'equal', 'behind')
    assert [row['variant'] for row in data['ablation']] == ['grasp', 'no gradient']
    arms = {row['arm']: row for row in data['feedback']}
    assert arms['full']['regret']['difference'] == 0
    assert arms['gain']['against_blind'] is not None
    # The same kicks for all, and as many episodes of the same length.
    ticks = {cell['episodes'][0]['ticks'] for cell in data['cells']
             if cell['study'] == 'feedback' and cell['training_seed'] == '0'}
    assert len(ticks) == 1
    # More episodes of an arm's own are compared where the other one has them too.
    assert {name: row['episodes'] for name, row in arms.items()} == {
        'full': 2, 'uncorrected': 2, 'gain': 4,
    }
    assert arms['gain']['held_difference']['episodes'] == 2
    table = (out / 'table.md').read_text()
    assert '| rooms | 2 | cem |' in table.partition('Settings as tuned')[2]
    assert 'grasp is' in table and '| none | greedy | default | after_frame |' in table
    assert arms['uncorrected']['subject_ahead']['episodes'] == 2
    for name in ('latency', 'deadline', 'ablation', 'feedback'):
        assert (out / f'{name}.png').stat().st_size > 1000

    # Driven once, nothing is driven again; more episodes are added to what is there.
    sizes = {file: file.stat().st_size for file in out.glob('cells/*/*')}
    call('run', *arguments)
    assert {file: file.stat().st_size for file in out.glob('cells/*/*')} == sizes


def wait_until_quiet(file):
    """Until the workers of a killed parent have gone too: they end by themselves."""
    size = -1
    while size != (size := file.stat().st_size):
        time.sleep(1.0)


@pytest.mark.parametrize(('only', 'found'), [
    ('', {('rooms', 'cem'), ('rooms', 'icem'), ('more_rooms', 'cem'), ('more_rooms', 'icem')}),
    ('rooms/', {('rooms', 'cem'), ('rooms', 'icem')}),
    ('/cem', {('rooms', 'cem'), ('more_rooms', 'cem')}),
    ('rooms/cem', {('rooms', 'cem')}),
])
def test_a_part_is_named_and_not_what_only_contains_its_name(only, found):
    suite = Suite(
        tasks=tuple(Task(name=name, models={'0': 'two_rooms'})
                    for name in ('rooms', 'more_rooms')),
        planners=tuple(Entry(name=name, planner=name) for name in ('cem', 'icem')),
        deadlines_ms=(2,), episodes=1, seeds={'tuning': 1}, prepare_ms=1,
        tuning={'deadlines_ms': [2], 'trials': 1, 'rungs': ()},
    )
    searches = tune.searches(suite, only=only)
    assert {(search.task.name, search.entry.name) for search in searches} == found


def cell(**changes):
    values = {'study': 'run', 'task': 'rooms', 'training_seed': '0', 'model': 'two_rooms',
              'entry': 'grasp', 'planner': 'grasp', 'settings': {}, 'seed': 1, 'held_out': True,
              'charge': True, 'prepare_ms': 2.0}
    return cells.Cell(**values | changes)


def test_a_changed_default_setting_or_model_never_meets_old_episodes(tmp_path):
    whole = cell()
    assert cell(settings={'horizon': GraspConfig.horizon, 'schedule': 'ahead'}).file == whole.file
    shutil.copytree(checkpoint.resolve('two_rooms'), tmp_path / 'copy')
    assert cell(model=str(tmp_path / 'copy')).file == whole.file
    cells.model_digest.cache_clear()
    card = checkpoint.load_card('two_rooms')
    checkpoint.save_card(replace(card, latent_scale=2 * card.latent_scale), tmp_path / 'copy')
    others = [cell(model=str(tmp_path / 'copy')), cell(seed=2)]
    others += [cell(settings={name: value}) for name, value in
               (('horizon', 7), ('schedule', 'after_frame'), ('drop_innovation', 3.0))]
    assert whole.file not in [other.file for other in others]


def canned_search(tmp_path, *, extra=()):
    rungs = [{'keep': 3, 'episodes': 1}, {'keep': 2, 'episodes': 2}]
    search = tune.Search(
        task=Task(name='rooms', models={'0': 'two_rooms'}), deadline_ms=2, trials=3, rungs=rungs,
        entry=Entry(name='cem', planner='cem', first=[{'samples': 8}, {'samples': 16}]),
        seed=1, prepare_ms=2, extra=extra,
    )
    lines = Lines(tmp_path / search.file)

    def drive(settings, indices, held):
        for index in indices:
            lines.append({'settings': settings, 'index': index, 'held': held,
                          'final_distance': 0.0, 'ticks': 50})

    return search, drive


def test_a_search_that_was_killed_among_its_finalists_has_chosen_nothing(tmp_path):
    search, drive = canned_search(tmp_path)
    for settings in search.settings():
        drive(settings, [0], held=settings == {'samples': 16})
    drive({}, [1], held=False)
    assert tune.outcome(search, tmp_path) is None
    drive({'samples': 16}, [1], held=True)
    assert tune.outcome(search, tmp_path)['settings'] == {'samples': 16}


def test_what_won_at_another_deadline_competes_at_this_one(tmp_path):
    search, drive = canned_search(tmp_path)
    for settings in search.settings():
        drive(settings, [0], held=False)
    for settings in ({}, {'samples': 8}):
        drive(settings, [1], held=False)
    other = replace(search, deadline_ms=10)
    for settings in other.settings():
        Lines(tmp_path / other.file).append({'settings': settings, 'index': 0, 'held': False,
                                             'final_distance': 0.0, 'ticks': 50})
    for settings, held in (({}, False), ({'samples': 16}, True)):
        Lines(tmp_path / other.file).append({'settings': settings, 'index': 1, 'held': held,
                                             'final_distance': 0.0, 'ticks': 50})
    mine, _ = tune.exchanges([search, other], tmp_path)
    assert mine.extra == ({'samples': 16},)
    assert tune.outcome(mine, tmp_path) is None  # it has not been tried here
    drive({'samples': 16}, [1], held=True)
    assert tune.outcome(mine, tmp_path)['settings'] == {'samples': 16}


def test_an_arm_without_tuned_settings_is_left_out_and_one_of_a_planner_alone_is_not(suite_file):
    suite = load(suite_file, models=suite_file.parent)
    small = replace(suite.planners[1], name='small_cem')
    arms = suite.feedback['arms']
    arms = (replace(arms[0], planner='small_cem'), replace(arms[1], planner='mppi'), arms[2])
    suite = replace(suite, planners=(*suite.planners, small),
                    feedback={**suite.feedback, 'arms': arms})
    tuned = {('rooms', 'small_cem', 2): {'settings': {'samples': 16}}}
    found = {c.entry: (c.planner, c.settings.get('samples'))
             for c in run.feedback_cells(suite, tuned)}
    assert found == {'full': ('cem', 16), 'uncorrected': ('mppi', None)}


def test_a_name_that_is_not_in_the_suite_is_refused(suite_file, tmp_path):
    result = CliRunner().invoke(command, [
        'run', '--suite', str(suite_file), '--out', str(tmp_path), '--only', 'rooms/cme'])
    assert result.exit_code == 1 and 'grasp, cem' in result.output


def test_every_planner_gets_the_same_number_of_valid_trials_and_the_same_ones_again():
    entry = Entry(name='cem', planner='cem', fixed={'iterations': 2},
                  space={'samples': [4, 16], 'elites': [2, 12], 'noise_scale': {'log': [0.1, 1]}})
    suite = {'task': Task(name='rooms', models={'0': 'two_rooms'})}
    search = tune.Search(entry=entry, deadline_ms=2, trials=6, rungs=(), seed=1, prepare_ms=2,
                         **suite)
    trials = search.settings()
    assert len(trials) == 6
    assert trials[0] == {'iterations': 2}  # the planner's own defaults take part
    assert trials == search.settings()
    assert all(0.1 <= trial['noise_scale'] <= 1 for trial in trials[1:])
    assert not any(trial['samples'] < trial['elites'] for trial in trials[1:])


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'seeds': {'tuning': 1, 'reporting': 1}}, 'seeds of their own'),
        ({'tasks': {'rooms': {'models': {0: 'nowhere'}}}}, 'train them first'),
        ({'gripper': 1}, 'gripper'),
        ({'planners': {'cem': {'space': {}}}}, 'planner'),
        ({'deadlines_ms': '2'}, 'deadlines_ms must be milliseconds'),
        ({'deadlines_ms': [0]}, 'each above 0'),
        ({'episodes': '8'}, 'episodes must be a whole number'),
        ({'tuning': {'trials': 1, 'rungs': []}}, 'deadlines_ms'),
        ({'seeds': {'tuning': 1, 'reporting': 2}}, 'seeds must name feedback'),
        ({'latency': {**SUITE['latency'], 'task': 'walls'}}, 'no task walls'),
        ({'tasks': {'rooms': {'models': {0: 'two_rooms'}, 'tune_on': [1]}}}, 'no model 1'),
        (with_feedback(tasks=['walls']), 'no task walls'),
        (with_feedback(subject='corrected'), 'no arm corrected'),
        (with_feedback(arms={**SUITE['feedback']['arms'],
                             'full': {'planner': 'cem', 'under': ['wind']}}), 'no disturbance'),
        (with_feedback(arms={**SUITE['feedback']['arms'],
                             'gain': {'planner': 'cem', 'law': 'pid'}}), 'law pid is none of'),
    ],
)
def test_a_suite_that_does_not_fit_is_refused_with_the_reason(tmp_path, change, reason):
    file = tmp_path / 'suite.yaml'
    file.write_text(yaml.safe_dump({**SUITE, **change}))
    with pytest.raises(ConfigError, match=reason):
        load(file, models=tmp_path)


def test_the_shipped_suite_can_be_read(tmp_path):
    suite = load(checkpoint.SHIPPED.parents[2] / 'config' / 'benchmark.yaml', models=tmp_path)
    assert suite.planners[0].name == 'grasp'
    for search in tune.searches(suite):
        assert len(search.settings()) == suite.tuning['trials']
