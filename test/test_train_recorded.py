# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training on a recording: no place is known, and a model comes out that a controller can use."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from grasp_ros.control.controller import Controller
from grasp_ros.control.history import Frame
from grasp_ros.control.tick import TickStatus
from grasp_ros.planners import registry
from grasp_ros.planners.base import ActionLimits
from grasp_ros.sim.worlds import make
from grasp_ros.training import calibrate, evaluate, recorded
from grasp_ros.training.dataset import collect
from grasp_ros.training.train import command
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import ActionSpec, CameraSpec

PERIOD_SEC = 0.1
MODELS = ('two_rooms', 'two_rooms_no_metric')


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write(folder, walks, *, start_sec=100.0, actions=('linear.x', 'linear.y'), bags=1):
    """A data set of some walks, one episode each, with a pause between them.

    Stamps begin anew in each bag.
    """
    writer = recorded.Writer(folder)
    length = walks.images.shape[1]
    each = len(walks.images) // bags
    for number, (images, commands) in enumerate(zip(walks.images, walks.actions)):
        first_sec = start_sec + number % each * (length + 5) * PERIOD_SEC
        writer.add(recorded.Recording(
            images=images, actions=commands[:, : len(actions)],
            stamps_sec=first_sec + PERIOD_SEC * np.arange(length)), bag=number // each)
    return writer.close(
        camera_name='ceiling', camera=CameraSpec(*walks.images.shape[2:4]), period_sec=PERIOD_SEC,
        actions=[ActionSpec(name, 'm/s', -0.3, 0.3) for name in actions], report={})


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    walks = collect(make('two_rooms'), walks=18, length=140, seed=0)
    return write(tmp_path_factory.mktemp('data'), walks)


def train(data, out, *options):
    return CliRunner().invoke(
        command, ['--data', str(data.folder), '--out', str(out), '--quick', *options])


@pytest.fixture(scope='module')
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    result = train(data, folder)
    assert result.exit_code == 0, result.output
    return folder


def test_walks_are_cut_of_episodes_and_none_reaches_into_the_evaluation(data):
    walks, evaluation = recorded.walks(data, length=60)
    assert walks.images.shape[1:] == (60, 64, 64, 3) and walks.actions.shape[1:] == (59, 2)
    # An episode of 140 frames gives the frames 0 to 59, 59 to 118 and 80 to 139.
    first = data.read(data.episodes[0][0])
    for row, start in enumerate((0, 59, 80)):
        assert np.array_equal(walks.images[row], first.images[start : start + 60])
        assert np.array_equal(walks.actions[row], first.actions[start : start + 59])
    assert len(walks.images) == 45 and len(evaluation.images) == 9
    last = data.read(data.episodes[-1][0])
    assert np.array_equal(evaluation.images[-1], last.images[80:])


@pytest.mark.parametrize('bags', [2, 6, 18])
def test_clocks_that_begin_anew_in_every_bag_lose_no_walks(data, tmp_path, bags):
    walks = collect(make('two_rooms'), walks=18, length=140, seed=0)
    anew = recorded.walks(write(tmp_path / 'data', walks, bags=bags), length=60)
    for one, other in zip(anew, recorded.walks(data, length=60)):
        assert np.array_equal(one.images, other.images)


def test_walks_of_overlapping_episodes_are_left_out_of_the_training_data(tmp_path):
    """The frames between the frames are of the same time."""
    walks = collect(make('two_rooms'), walks=2, length=120, seed=0)
    writer = recorded.Writer(tmp_path)
    for phase_sec, images, actions in zip((0.0, 0.033), walks.images, walks.actions):
        writer.add(recorded.Recording(images=images, actions=actions,
                                      stamps_sec=phase_sec + PERIOD_SEC * np.arange(120)))
    data = writer.close(camera_name='c', camera=CameraSpec(64, 64), period_sec=PERIOD_SEC,
                        actions=[ActionSpec(n, 'm/s', -0.3, 0.3) for n in 'xy'], report={})
    training, evaluation = recorded.walks(data, length=21)
    assert len(evaluation.images) == 2  # one of either, at the end
    assert len(training.images) == 8  # and without those that end after they have begun


def test_a_recording_gives_models_without_a_place_that_a_controller_drives_with(run):
    world = make('two_rooms')
    for name in MODELS:
        model = checkpoint.load(run / name)
        card = model.card
        assert list(card.cameras) == ['ceiling'] and card.control_period_sec == PERIOD_SEC
        assert min(card.goal_tolerance, card.innovation_limit) > 0
        assert set(card.metrics['open_loop']) == {'1', '5', '10', '25', '50'}
        bounds = torch.tensor([0.3, 0.3])
        controller = Controller(model=model, planner=registry.make('grasp', model, horizon=4),
                                limits=ActionLimits(-bounds, bounds))
        frame = Frame({'ceiling': world.render_at(0.2, 0.2)}, 0.0)
        controller.set_goal(controller.encode_goal(Frame({'ceiling': world.render_at(0.3, 0.3)},
                                                         0.0)))
        tick = controller.step(frame, now_sec=0.0)
        assert tick.status is TickStatus.SOLVED
        assert model.position(tick.plan.rollout) is None
    report = (run / 'report.md').read_text()
    assert 'motion_limit' not in report and '| 25 |' in report
    assert (run / 'losses.png').stat().st_size > 5000
    card = json.loads((run / 'two_rooms' / checkpoint.CARD_FILE).read_text())
    assert card['training']['frames'] == 15 * 140 and '--data' in card['training']['command']


def test_scores_of_a_model_of_a_recording_claim_no_held_out_places(run, tmp_path):
    file = tmp_path / 'scores.json'
    options = ['--episodes', '4', '--horizon', '3', '--iterations', '1', '--json', str(file)]
    result = CliRunner().invoke(evaluate.command, ['--model', str(run / MODELS[0]), *options])
    assert result.exit_code == 0, result.output
    assert 'held-out' not in result.output and 'in two_rooms' in ' '.join(result.output.split())
    scores = json.loads(file.read_text())
    assert not any(episode['held_out'] for episode in scores['results'])


def test_a_model_of_larger_pictures_is_driven_in_pictures_of_its_size(tmp_path):
    walks = collect(make('two_rooms', image_size=80), walks=12, length=70, seed=0)
    result = train(write(tmp_path / 'data', walks), tmp_path / 'run')
    assert result.exit_code == 0, result.output
    options = ['--episodes', '1', '--horizon', '3', '--iterations', '1']
    result = CliRunner().invoke(
        evaluate.command, ['--model', str(tmp_path / 'run' / MODELS[0]), *options])
    assert result.exit_code == 0, result.output


def test_a_noisy_camera_is_said_to_leave_frozen_pictures_unwatched(tmp_path):
    walks = collect(make('two_rooms'), walks=12, length=70, seed=0)
    noise = np.random.default_rng(0).integers(0, 3, walks.images.shape, dtype=np.uint8)
    walks.images[:] = np.minimum(walks.images, 250) + noise
    result = train(write(tmp_path / 'data', walks), tmp_path / 'run')
    assert result.exit_code == 0, result.output
    assert 'No two pictures' in (tmp_path / 'run' / 'report.md').read_text()


def test_the_limits_of_another_robot_are_not_taken_from_an_embedded_world(run):
    folder = run / MODELS[0]
    card = (folder / 'card.json').read_bytes()
    result = CliRunner().invoke(calibrate.command, [str(folder)])
    assert result.exit_code == 1 and 'set control.innovation_limit' in result.output
    assert (folder / 'card.json').read_bytes() == card


def test_a_run_on_other_data_is_not_taken_up(run, tmp_path):
    walks = collect(make('two_rooms'), walks=12, length=70, seed=1)
    result = train(write(tmp_path / 'other', walks), run)
    assert result.exit_code == 1 and 'a run with another data' in ' '.join(result.output.split())


def test_a_robot_of_one_action_is_trained_as_well(tmp_path):
    walks = collect(make('two_rooms'), walks=12, length=70, seed=0)
    data = write(tmp_path / 'data', walks, actions=('linear.x',))
    result = train(data, tmp_path / 'run', '--task', 'inertial_two_rooms')
    assert result.exit_code == 0, result.output
    model = checkpoint.load(tmp_path / 'run' / 'inertial_two_rooms')
    assert model.card.action_size == 1 and model.card.frames == 2
    assert 0 < min(model.card.observer_gain) <= 1


def test_data_that_do_not_fit_are_refused_with_the_cure(tmp_path, data):
    for task in ('random_door', 'staggered_walls', 'push_t'):
        result = train(data, tmp_path / 'run', '--task', task)
        assert result.exit_code == 1 and 'two_rooms, inertial_two_rooms or' in result.output
    short = collect(make('two_rooms'), walks=3, length=40, seed=0)
    result = train(write(tmp_path / 'short', short), tmp_path / 'run')
    assert result.exit_code == 1 and 'record for longer' in ' '.join(result.output.split())
    broken = write(tmp_path / 'broken', short)
    file = broken.folder / recorded.DATASET_FILE
    file.write_text(file.read_text().replace('"frames": 40', '"frames": 400'))
    with pytest.raises(recorded.DataError, match='make the data set again'):
        recorded.walks(recorded.load(broken.folder), length=60)
    wide = collect(make('two_rooms', image_size=40), walks=1, length=70, seed=0)
    result = train(write(tmp_path / 'wide', wide), tmp_path / 'run')
    assert result.exit_code == 1 and 'divisible by 16' in result.output
