# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A benchmark's suite, search and run: what is asked for is driven once, also when killed."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import yaml
from click.testing import CliRunner

from grasp_ros.benchmark import cells, run, tune
from grasp_ros.benchmark.command import command
from grasp_ros.benchmark.lines import Lines
from grasp_ros.benchmark.suite import Entry, Suite, Task, load
from grasp_ros.errors import ConfigError
from grasp_ros.planners.grasp import GraspConfig
from grasp_ros.world_models import checkpoint

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
