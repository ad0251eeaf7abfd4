# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation without ROS: the shipped model drives, and the scores mean what they say."""

import json
import math
import shutil
from colorsys import rgb_to_hsv

import numpy as np
import pytest
from click.testing import CliRunner

from grasp_ros.training import stops
from grasp_ros.training.camera import SHIFTS, Camera
from grasp_ros.training.evaluate import command, compare
from grasp_ros.training.statistics import rate
from grasp_ros.training.tasks import HELD_OUT_EVERY, episode_tasks, make_world
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.jepa import Jepa


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    file = tmp_path_factory.mktemp('evaluate') / 'grasp.json'
    result = run('--episodes', 4, '--seed', 5, '--json', file)
    assert result.exit_code == 0, result.output
    assert 'reached' in result.output
    return file


def test_the_shipped_model_drives_to_goals_in_the_other_room(report):
    scores = json.loads(report.read_text())
    assert scores['episodes'] == 4
    assert scores['reached']['rate'] == scores['held']['rate'] == 1.0
    assert scores['held_out_places']['episodes'] == 1
    assert scores['warm_start_used'] > 0.95
    low, high = scores['held']['ci95']
    assert 0 < low < 1 == high
    assert 0.7 < scores['path_ratio'] < 1.5
    for name in ('tick_ms', 'tick_cpu_ms', 'forward_ms'):
        assert 0 < scores[name]['p50'] <= scores[name]['p99']


def test_runs_on_the_same_episodes_are_compared_pair_by_pair(report):
    result = run('--episodes', 4, '--seed', 5, '--warm-start', 'none', '--iterations', 1,
                 '--against', report)
    assert result.exit_code == 0, result.output
    assert 'held, paired' in result.output


@pytest.mark.parametrize(('seed', 'world'), [(6, 'two_rooms'), (5, 'point_maze')])
def test_other_episodes_are_not_compared_nor_driven(report, tmp_path, seed, world):
    earlier = tmp_path / 'earlier.json'
    earlier.write_text(json.dumps(json.loads(report.read_text()) | {'world': world}))
    other = run('--episodes', 4, '--seed', seed, '--against', earlier)
    assert other.exit_code == 1 and 'other episodes' in other.output
    assert 'path / shortest' not in other.output


@pytest.mark.parametrize('text', ['{', '[1]', '{"seed": 1}'])
def test_what_is_no_evaluation_is_refused_before_anything_is_driven(tmp_path, text):
    (tmp_path / 'earlier.json').write_text(text)
    result = run('--episodes', 1, '--against', tmp_path / 'earlier.json')
    assert result.exit_code == 1 and 'no evaluation' in result.output
    assert 'path / shortest' not in result.output


def test_a_robot_that_follows_late_holds_its_goal_with_compensation_alone(report, tmp_path):
    held = {}
    for option in ('--latency-compensation', '--no-latency-compensation'):
        file = tmp_path / 'late.json'
        result = run('--episodes', 4, '--seed', 5, '--delay', 0.5, option, '--iterations', 4,
                     '--json', file, '--against', report)
        assert result.exit_code == 0, result.output
        assert 'held, paired' in result.output and 'delay' in result.output
        held[option] = json.loads(file.read_text())['held']['rate']
    assert held['--latency-compensation'] >= 0.75
    assert held['--no-latency-compensation'] <= 0.25


def test_a_camera_that_sees_otherwise_sees_the_goal_so_too():
    world = make_world('two_rooms')
    world.reset(options={'start': (0.3, 0.4)})
    seen = {name: Camera(world, None, (0, 0), name) for name in ('', *SHIFTS)}
    pictures = {name: camera.picture(0).astype(int) for name, camera in seen.items()}
    plain = pictures['']
    for name, camera in seen.items():
        assert (camera.picture_at((0.3, 0.4)) == pictures[name]).all()
    assert np.abs(pictures['darker'] - 0.8 * plain).max() <= 1
    assert np.abs(pictures['brighter'] - np.minimum(1.2 * plain, 255)).max() <= 1
    assert (pictures['left'][:, :-2] == plain[:, 2:]).all()
    assert (pictures['right'][:, 2:] == plain[:, :-2]).all()
    assert (pictures['up'][:-2] == plain[2:]).all()
    assert (pictures['down'][2:] == plain[:-2]).all()
    assert np.abs(np.diff(pictures['blurred'], axis=0)).sum() < (
        0.7 * np.abs(np.diff(plain, axis=0)).sum()
    )
    row, column = np.unravel_index((plain[..., 0] - plain[..., 2]).argmax(), plain.shape[:2])
    hues = {n: 360 * rgb_to_hsv(*pictures[n][row, column] / 255)[0] for n in ('', *SHIFTS)}
    assert hues['hue+10'] - hues[''] == pytest.approx(10, abs=2)  # a circle has 256 steps
    assert hues['hue-10'] - hues[''] == pytest.approx(-10, abs=2)


def test_a_shift_is_named_beside_its_scores():
    result = run('--episodes', 1, '--seed', 5, '--shift', 'darker', '--iterations', 1)
    assert result.exit_code == 0, result.output
    assert 'darker' in result.output


def test_every_planner_gets_the_same_episodes():
    world = make_world('two_rooms')
    first, second = (episode_tasks('two_rooms', episodes=9, seed=3) for _ in range(2))
    assert first == second
    assert episode_tasks('two_rooms', episodes=9, seed=4) != first
    for index, episode in enumerate(first):
        task, held_out = episode.task, episode.held_out
        assert held_out is (index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1)
        assert world.is_blocked(task.start, task.goal)
        assert (task.start[0] < 0.5) != (task.goal[0] < 0.5)
        for place in (task.start, task.goal):
            if held_out:
                assert world.scene.is_held_out(*place)


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['--model', 'nowhere'], 'two_rooms'),
        (['--set', 'horizon'], 'name=number'),
        (['--set', 'gripper=1'], 'no setting gripper'),
        (['--set', 'samples=10.5'], 'samples must be a whole number'),
        (['--planner', 'greedy', '--horizon', '9'], 'no setting horizon'),
        (['--horizon', '0'], 'horizon'),
        (['--device', 'cuda:99'], 'CUDA|cuda'),
        (['--horizon', '5', '--set', 'horizon=7'], 'the same setting'),
        (['--json', f'{__file__}/report.json'], 'exists|directory'),
    ],
)
def test_bad_input_gets_a_clear_error(arguments, reason):
    result = run('--episodes', 1, *arguments)
    assert result.exit_code != 0
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert any(word in result.output for word in reason.split('|'))


def test_a_model_of_another_robot_is_not_driven_in_a_world_that_is_not_its_own(tmp_path):
    folder = shutil.copytree(checkpoint.resolve('two_rooms'), tmp_path / 'mine')
    file = folder / checkpoint.CARD_FILE
    file.write_text(file.read_text().replace('linear.y', 'angular.z'))
    for program in (command, stops.command):
        result = CliRunner().invoke(program, ['--episodes', '1', '--model', str(folder)])
        assert result.exit_code == 1 and 'acts by linear.x, angular.z' in result.output


def test_an_episode_that_failed_is_json_too(tmp_path):
    file = tmp_path / 'greedy.json'
    options = ('--model', 'two_rooms_no_metric', '--planner', 'greedy', '--seed', 4000)
    assert run('--episodes', 4, *options, '--json', file).exit_code == 0
    scores = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert any(episode['path_ratio'] is None for episode in scores['results'])


def test_a_model_that_gives_no_plan_is_an_error_with_its_reason(monkeypatch):
    cost = Jepa.cost
    monkeypatch.setattr(Jepa, 'cost', lambda *given: math.nan * cost(*given))
    result = run('--episodes', 1, '--horizon', 3)
    assert result.exit_code == 1 and 'no solve of two_rooms gave a plan' in result.output
    assert 'not finite' in ' '.join(result.output.split())


def test_without_a_tolerance_nothing_is_claimed(tmp_path):
    folder = shutil.copytree(checkpoint.resolve('two_rooms'), tmp_path / 'mine')
    card = json.loads((folder / checkpoint.CARD_FILE).read_text()) | {'goal_tolerance': 0.0}
    (folder / checkpoint.CARD_FILE).write_text(json.dumps(card))
    result = run('--episodes', 1, '--model', folder, '--planner', 'greedy')
    assert 'the card has no goal tolerance' in ' '.join(result.output.split())


def test_rates_and_paired_differences():
    assert rate([]) is None
    assert rate([True] * 10)['ci95'][1] == pytest.approx(1.0)
    half = rate([True, False] * 50)
    assert half['rate'] == 0.5
    # Wilson, 50 of 100: 0.4038 … 0.5962
    assert half['ci95'] == pytest.approx([0.4038, 0.5962], abs=1e-4)

    def scores(held):
        return {'seed': 0, 'episodes': len(held), 'results': [{'held': h} for h in held]}

    always, half = scores([True] * 20), scores([True, False] * 10)
    difference = compare(always, half, outcome='held')
    assert difference['difference'] == 0.5
    assert difference['only_first'] == 10
    assert difference['only_second'] == 0
    assert difference['mcnemar_p'] == pytest.approx(2 * 0.5**10)
    assert 0.2 < difference['ci95'][0] < 0.5 < difference['ci95'][1] < 0.8
    same = compare(half, half, outcome='held')
    assert same['ci95'] == [0.0, 0.0]
    assert math.isclose(same['mcnemar_p'], 1.0)
