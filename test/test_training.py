# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training: its data, its stages, stopping and going on, what it leaves; the JEPA it trains."""

import copy
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from grasp_ros.errors import ConfigError
from grasp_ros.sim.worlds import LAYOUTS, make
from grasp_ros.training import calibrate, evaluate
from grasp_ros.training.camera import SHIFTS
from grasp_ros.training.config import TrainingConfig
from grasp_ros.training.dataset import collect, interleave
from grasp_ros.training.layout_stages import LayoutPredictorStage, paste
from grasp_ros.training.metrics import (
    Encoded,
    goal_score,
    goal_tolerance,
    observer_gain,
    rank_correlation,
)
from grasp_ros.training.runner import Interrupted
from grasp_ros.training.stages import Networks
from grasp_ros.training.state import STATE_FILE
from grasp_ros.training.train import command, train
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import ActionSpec, CameraSpec, ModelCard, Observation
from grasp_ros.world_models.jepa import Jepa, Predictor

MODELS = ('two_rooms', 'two_rooms_no_metric')
NEW_TASKS = ('inertial_two_rooms', 'staggered_walls', 'random_door', 'push_t')
SHIPPED_TASKS = NEW_TASKS[:3]


class Recorder:
    """Hears of progress, and stops after a number of reports."""

    def __init__(self, stop_after=None):
        self.reports, self.stop_after = [], stop_after

    def update(self, name, done, total, loss):
        self.reports.append((name, done, total, loss))

    def should_stop(self):
        trained = [report for report in self.reports if report[3] is not None]
        return self.stop_after is not None and len(trained) >= self.stop_after


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def quick_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    result = CliRunner().invoke(command, ['--out', str(folder), '--seed', '3', '--quick'])
    assert result.exit_code == 0, result.output
    return folder, result.output


@pytest.fixture(scope='module')
def quick_runs(tmp_path_factory):
    """Task -> folder of its run, made when a test first asks for it: no one waits for all."""
    class Runs(dict):
        def __missing__(self, task):
            self[task] = tmp_path_factory.mktemp(task)
            result = CliRunner().invoke(command, ['--task', task, '--out', str(self[task]),
                                                  '--seed', '3', '--quick'])
            assert result.exit_code == 0, result.output
            return self[task]

    return Runs()


def _images(world, places):
    return torch.from_numpy(np.stack([world.render_at(*place) for place in places]))[:, None]


def _pairs(world, before, now):
    """What a model of two frames sees of robots that went from some places to others."""
    images = torch.cat([_images(world, before), _images(world, now)], dim=1)
    return Observation({'overhead': images}, actions=torch.zeros(len(now), 1, 1, 2))


def _jepa(*, size, frames=1, **architecture):
    torch.manual_seed(0)
    return Jepa(ModelCard(
        name='test', cameras={'overhead': CameraSpec(64, 64)}, latent_shape=(size,), frames=frames,
        actions=tuple(ActionSpec(name, 'm/s', -0.3, 0.3) for name in 'xy'), model_step_sec=0.1,
        architecture={'type': 'jepa', 'channels': [4, 4, 8], 'encoder_width': 16,
                      'metric_width': 0, 'predictor_width': 33, 'probe_width': 16,
                      **architecture})).eval()


def test_data_is_the_same_for_the_same_seed_and_differs_for_another():
    first = collect(make('two_rooms'), walks=3, length=20, seed=1)
    again = collect(make('two_rooms'), walks=3, length=20, seed=1)
    other = collect(make('two_rooms'), walks=3, length=20, seed=2)
    for field in dataclasses.fields(first):
        assert np.array_equal(getattr(first, field.name), getattr(again, field.name))
    assert not np.array_equal(first.positions, other.positions)
    more = collect(make('two_rooms'), walks=4, length=20, seed=1)
    assert np.array_equal(more.images[:3], first.images)


def test_no_training_frame_shows_a_held_out_band_and_evaluation_does():
    world = make('two_rooms')
    walks = collect(world, walks=30, length=60, seed=0)
    assert not walks.held_out.any()
    free = collect(world, walks=30, length=60, seed=0, enter_bands=True)
    assert free.held_out.any()
    inside = [world.scene.is_held_out(*place) for place in free.positions.reshape(-1, 2).tolist()]
    assert np.array_equal(np.array(inside).reshape(30, 60), free.held_out)


def test_walks_cover_both_rooms_and_the_limits():
    walks = collect(make('two_rooms'), walks=30, length=60, seed=0)
    x = walks.positions[..., 0]
    assert 0.3 < (x < 0.5).mean() < 0.7
    assert ((x[:, 1:] - 0.5) * (x[:, :-1] - 0.5) < 0).any()
    assert np.abs(walks.actions).max() == np.float32(0.3)
    assert walks.images.dtype == np.uint8 and walks.images.shape == (30, 60, 64, 64, 3)


def test_quick_run_leaves_models_and_a_report_with_pictures(quick_run):
    folder, output = quick_run
    assert 'encoder: 40 of 40' in output and 'report.md' in output
    report = (folder / 'report.md').read_text()
    for picture in ('losses', 'open_loop', 'distances', 'distance_map'):
        assert f'{picture}.png' in report
        assert (folder / f'{picture}.png').stat().st_size > 5000
    for name in MODELS:
        assert name in report
        card = json.loads((folder / name / checkpoint.CARD_FILE).read_text())
        assert card['training']['seed'] == 3 and '--quick' in card['training']['command']
        assert card['training']['versions']['torch']
        for area in ('ordinary', 'held_out_band'):
            assert set(card['metrics'][area]['open_loop_error']) == {'1', '5', '10', '25', '50'}


@pytest.mark.parametrize('name', MODELS)
def test_trained_model_keeps_the_contract(quick_run, name):
    model, world = checkpoint.load(quick_run[0] / name), make('two_rooms')
    latent = model.encode(Observation({'overhead': _images(world, [(0.2, 0.2), (0.8, 0.7)])}))
    assert latent.shape == (2, *model.card.latent_shape) and torch.isfinite(latent).all()
    after = model.predict(latent[:, None], torch.full((2, 1, 1, 2), 0.3))
    assert after.shape == latent.shape and model.position(after).shape == (2, 2)
    assert (model.cost(latent, latent) == 0).all() and (model.cost(latent, latent[0])[1] > 0).all()
    assert model.card.goal_tolerance > 0


def test_interrupted_run_goes_on_and_ends_where_the_whole_run_does(quick_run, tmp_path):
    for stop_after in (7, 125):  # in the joint stage, then in that of views
        recorder = Recorder(stop_after)
        with pytest.raises(Interrupted):
            train(TrainingConfig.of('two_rooms', seed=3, quick=True), folder=tmp_path,
                  command='test', progress=recorder, should_stop=recorder.should_stop)
    assert not (tmp_path / 'report.md').exists()
    last = Recorder()
    train(TrainingConfig.of('two_rooms', seed=3, quick=True), folder=tmp_path, command='test',
          progress=last)
    assert ('encoder', 40, 40) == [report[:3] for report in last.reports
                                   if report[0] == 'encoder'][0]
    for name in MODELS:
        whole = load_file(quick_run[0] / name / checkpoint.WEIGHTS_FILE)
        parts = load_file(tmp_path / name / checkpoint.WEIGHTS_FILE)
        for key, value in whole.items():
            assert torch.allclose(parts[key], value, atol=1e-5), (name, key)
    assert '2 interruptions' in (tmp_path / 'report.md').read_text()
    train(TrainingConfig.of('two_rooms', seed=3, quick=True), folder=tmp_path, command='test',
          progress=Recorder())  # nothing was left to do
    assert '2 interruptions' in (tmp_path / 'report.md').read_text()


def test_ctrl_c_saves_and_exits_with_a_hint(tmp_path):
    code = 'from grasp_ros.cli import main; main()'
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), OMP_NUM_THREADS='1',
                       PYTHONUNBUFFERED='1')
    process = subprocess.Popen([sys.executable, '-c', code, 'train', '--quick', '--out',
                                str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment)
    for line in process.stdout:
        if line.startswith('encoder:'):
            process.send_signal(signal.SIGINT)
            break
    rest = process.stdout.read()
    assert process.wait(timeout=60) == 130
    assert 'goes on from there' in ' '.join(rest.split())
    assert (tmp_path / STATE_FILE).is_file()


@pytest.mark.parametrize('piece', ['walks', 'evaluation walks'])
def test_a_stop_is_heard_between_walks(quick_run, piece):
    progress = Recorder()
    config = TrainingConfig.of('two_rooms', seed=3, quick=True)
    with pytest.raises(Interrupted):
        train(config, folder=quick_run[0], command='test', progress=progress,
              should_stop=lambda: any(report[0] == piece for report in progress.reports))
    name, done, total, _ = progress.reports[-1]
    assert name == piece and done < total


def test_a_folder_that_cannot_be_made_is_an_error_with_its_name(tmp_path):
    (tmp_path / 'file').write_text('')
    result = CliRunner().invoke(command, ['--out', str(tmp_path / 'file' / 'run'), '--quick'])
    assert result.exit_code == 1 and 'Not a directory' in result.output


def test_calibrating_a_model_gives_the_limits_that_training_gave_it(quick_run, tmp_path):
    folder = shutil.copytree(quick_run[0] / 'two_rooms', tmp_path / 'two_rooms')
    result = CliRunner().invoke(calibrate.command, [str(folder)])
    assert result.exit_code == 0, result.output
    before, after = (checkpoint.load_card(str(f)) for f in (quick_run[0] / 'two_rooms', folder))
    assert after.innovation_limit == pytest.approx(before.innovation_limit, rel=1e-5)
    assert after.motion_limit == pytest.approx(before.motion_limit, rel=1e-5)


def test_folder_of_another_run_is_refused_with_what_differs(quick_run):
    with pytest.raises(ConfigError, match='another seed'):
        train(TrainingConfig.of('two_rooms', seed=4, quick=True), folder=quick_run[0],
              command='test', progress=Recorder())


def test_damaged_state_is_refused(tmp_path):
    (tmp_path / STATE_FILE).write_bytes(b'not a safetensors file')
    with pytest.raises(ConfigError, match='damaged'):
        train(TrainingConfig.of('two_rooms', seed=3, quick=True), folder=tmp_path,
              command='test', progress=Recorder())


def _predictor(static: int) -> Predictor:
    predictor = Predictor(latent_size=5 + static, action_size=2, action_scale=0.3, width=33,
                          static_size=static).double()
    if static:  # as after training; it starts at zero
        torch.nn.init.normal_(predictor.straight.weight)
    return predictor


@pytest.mark.parametrize('static', [0, 3])
def test_hand_written_pullback_is_that_of_autograd(static):
    torch.manual_seed(0)
    predictor = _predictor(static)
    latent, action = torch.randn(7, 5 + static).double(), torch.randn(7, 2).double()
    cotangent = torch.randn(7, 5 + static).double()
    expected = predictor(latent, action.requires_grad_())
    gradient, = torch.autograd.grad(expected, action, cotangent)
    with torch.no_grad():
        found, pullback = predictor.with_vjp(latent, action)
        assert torch.allclose(found, expected, atol=1e-12)
        assert torch.allclose(pullback(cotangent), gradient, atol=1e-12)


@pytest.mark.parametrize('static', [0, 3])
def test_rollout_is_repeated_prediction(static):
    torch.manual_seed(0)
    predictor = _predictor(static)
    latent, actions = torch.randn(4, 5 + static).double(), torch.randn(4, 6, 2).double()
    together, walls = predictor.rollout(latent, actions), latent[:, 5:]
    for step in range(6):
        latent = predictor(latent, actions[:, step])
        assert torch.allclose(together[:, step], latent, atol=1e-12)
        assert torch.equal(latent[:, 5:], walls)
    assert not torch.equal(together[:, -1, :5], together[:, 0, :5])


def test_predictor_of_layouts_begins_anew_with_commands_that_lead_straight_on():
    config = TrainingConfig.of('staggered_walls', seed=0, quick=True)
    networks = Networks(config, image_size=64, action_scale=0.3)
    before = copy.deepcopy(networks['plain_predictor'].state_dict())
    stage = LayoutPredictorStage(networks, None, config, space='plain')
    stage.begin()
    first = copy.deepcopy(networks['plain_predictor'].state_dict())
    assert not torch.equal(first['hidden.weight'], before['hidden.weight'])
    torch.nn.init.normal_(networks['plain_predictor'].hidden.weight)
    stage.begin()  # whatever was there: the same
    assert all(torch.equal(value, first[name])
               for name, value in networks['plain_predictor'].state_dict().items())
    latent = torch.zeros(2, config.plain_size + config.static_size)
    with torch.no_grad():
        right, still = networks['plain_predictor'](latent, torch.tensor([[0.3, 0.0], [0.0, 0.0]]))
    moved = (right - still)[:config.plain_size]
    assert moved[0] > 3 * moved[1].abs() and moved[0] == pytest.approx(1 / 8.6, rel=0.5)


def test_static_part_matters_to_the_motion_and_not_to_the_cost():
    model = _jepa(size=5, static_size=3)
    latent, actions = torch.randn(1, 1, 5), torch.full((1, 4, 1, 2), 0.2)
    other = latent.clone()
    other[..., 2:] += 1
    first, second = model.rollout(latent, actions), model.rollout(other, actions)
    assert (first[..., :2] - second[..., :2]).abs().max() > 1e-4
    assert model.cost(latent[0], other[0, 0]) == 0
    # The mean over the entries that count, so that planner settings need not know of the others.
    nearer = latent[0] + torch.tensor([3.0, 1.0, 9.0, 9.0, 9.0])
    assert model.cost(nearer, latent[0, 0]).item() == pytest.approx(5)


def test_robot_at_rest_has_no_velocity_part_and_a_moving_one_has_its_way():
    model, world = _jepa(size=6, frames=2, velocity_gain=7.0), make('inertial_two_rooms')
    before, now = [(0.2, 0.2), (0.7, 0.3)], [(0.2, 0.2), (0.75, 0.35)]
    with torch.no_grad():
        latent = model.encode(_pairs(world, before, now))
        earlier = model.encode(_pairs(world, before, before))
    assert (latent[0, 3:] == 0).all() and (earlier[:, 3:] == 0).all()
    assert torch.allclose(latent[1, 3:], 7 * (latent[1, :3] - earlier[1, :3]), atol=1e-5)
    still, moving = model.velocity(latent)
    assert (still == 0).all() and (moving != 0).all()


def test_latents_that_do_not_divide_are_refused():
    for sizes in ({'size': 5, 'frames': 2, 'velocity_gain': 1.0}, {'size': 4, 'static_size': 4},
                  {'size': 6, 'frames': 3, 'velocity_gain': 1.0}):
        with pytest.raises(ValueError):
            _jepa(**sizes)


def test_robot_is_pasted_into_other_rooms():
    first, second = make('staggered_walls', layout=0), make('staggered_walls', layout=24)
    empty = []
    for world in (first, second):
        pictures = _images(world, [(0.1, 0.9), (0.5, 0.5), (0.9, 0.1)])[:, 0]
        empty.append(pictures.median(dim=0, keepdim=True).values)
    pasted = paste(_images(first, [(0.5, 0.3)])[:, 0], *empty)
    there = _images(second, [(0.5, 0.3)])[:, 0]
    assert (pasted.int() - there.int()).abs().float().mean() < 0.05
    assert (pasted != empty[1]).any()


def test_robot_with_inertia_keeps_out_of_the_bands_drives_fast_and_stands():
    walks = collect(make('inertial_two_rooms'), walks=40, length=100, seed=0)
    assert not walks.held_out.any()
    speed = np.linalg.norm(walks.velocities, axis=-1)
    assert (speed[:, 1:] < 0.01).mean() > 0.1 and (speed > 0.3).mean() > 0.03
    braked = (speed[:, :-1] > 0.1) & (speed[:, 1:] < 0.7 * speed[:, :-1]) & ~walks.touches[:, 1:]
    assert braked.mean() > 0.02
    assert np.abs(walks.actions).max() <= np.float32(0.3)


def test_walks_of_layouts_are_interleaved_and_differ():
    parts = [collect(make('staggered_walls', layout=layout), walks=2, length=5, seed=0)
             for layout in (3, 4)]
    walks = interleave(parts)
    assert walks.layouts.tolist() == [3, 4, 3, 4]
    assert np.array_equal(walks.images[2], parts[0].images[1])
    assert not np.array_equal(walks.positions[0], walks.positions[1])


@pytest.mark.parametrize('task', NEW_TASKS)
def test_quick_run_of_each_task_leaves_a_model_of_its_world(quick_runs, task):
    folder = quick_runs[task]
    assert 'open loop' in (folder / 'report.md').read_text()
    assert (folder / 'distance_map.png').stat().st_size > 5000
    model = checkpoint.load(folder / task)
    card = model.card
    assert card.training['world'] == task and f'--task {task}' in card.training['command']
    assert card.actions[0].unit == ('m/s^2' if task == 'inertial_two_rooms' else 'm/s')
    world = make(task, layout=7 if task in LAYOUTS else None)
    assert card.model_step_sec == world.scene.step_sec
    images = _images(world, [(0.2, 0.15), (0.8, 0.7)]).expand(-1, card.frames, -1, -1, -1)
    latent = model.encode(Observation({'overhead': images}, actions=torch.zeros(2, 1, 1, 2)))
    assert latent.shape == (2, *card.latent_shape)
    after = model.predict(latent[:, None], torch.full((2, 1, 1, 2), 0.3))
    assert model.position(after).shape == (2, 2) and (after != latent).any()


def test_quick_run_of_inertia_measures_velocity_and_goals_at_rest(quick_runs):
    metrics = checkpoint.load_card(quick_runs[NEW_TASKS[0]] / NEW_TASKS[0]).metrics
    assert metrics['ordinary']['velocity_error']['mean'] > 0


def test_quick_run_of_layouts_measures_held_out_ones(quick_runs):
    metrics = checkpoint.load_card(quick_runs[NEW_TASKS[1]] / NEW_TASKS[1]).metrics
    assert set(metrics['layout_told']) == {'ordinary', 'held_out_layouts'}
    layouts = LAYOUTS['staggered_walls']
    share = len(layouts.held_out) / len(layouts.training)
    counts = [metrics[area]['probe_error']['count'] for area in ('held_out_layouts', 'ordinary')]
    assert counts[0] / counts[1] == pytest.approx(share)


def test_quick_run_of_pushes_measures_the_block(quick_runs):
    model = checkpoint.load(quick_runs['push_t'] / 'push_t')
    block = model.card.metrics['block']
    assert block['probe']['error']['count'] == block['probe']['turn_error_deg']['count'] > 0
    after = block['open_loop']['50']
    assert after['error']['count'] > 0 and after['moved']['mean'] > 0.05
    assert model.card.metrics['held_out_band']['rank_correlation'] is None
    pose = model.block_pose(torch.zeros(4, *model.card.latent_shape))
    assert pose.shape == (4, 3) and pose[:, 2].abs().max() <= np.pi
    assert checkpoint.load('two_rooms').block_pose(torch.zeros(1, 16)) is None
    report = (quick_runs['push_t'] / 'report.md').read_text()
    assert 'turned, deg' in report and 'how far the block is' in report


def test_a_model_of_pushes_is_scored_by_the_block(quick_runs, tmp_path):
    file = tmp_path / 'greedy.json'
    result = CliRunner().invoke(evaluate.command, [
        '--model', str(quick_runs['push_t'] / 'push_t'), '--planner', 'greedy', '--episodes', '2',
        '--seed', '5', '--json', str(file)])
    assert result.exit_code == 0 and 'block to its goal' in result.output, result.output
    report = json.loads(file.read_text())
    move, turn = report['block_goals']['move_m'], report['block_goals']['turn_deg']
    assert move['p75'] >= 0.1 or turn['p75'] >= 40
    assert report['held_out_places']['episodes'] == 0
    for episode in report['results']:
        assert not episode['held'] or episode['final_distance'] <= 0.05


@pytest.mark.parametrize('name', MODELS)
def test_shipped_model_sees_the_robot_and_predicts_its_motion(name):
    model, world = checkpoint.load(name), make('two_rooms')
    starts = [(0.2, 0.7), (0.25, 0.2), (0.75, 0.3), (0.8, 0.8)]
    latent = model.encode(Observation({'overhead': _images(world, starts)}))
    assert (model.position(latent) - torch.tensor(starts)).norm(dim=1).max() < 0.03
    actions = torch.tensor([0.25, -0.1]).expand(4, 5, 1, 2)
    predicted = model.rollout(latent[:, None], actions)[:, -1]
    for start, place in zip(starts, model.position(predicted)):
        world.reset(options={'start': start})
        for _ in range(5):
            world.step((0.25, -0.1))
        assert np.linalg.norm(place.numpy() - world.position) < 0.04


@pytest.mark.parametrize('shift', SHIFTS)
@pytest.mark.parametrize('name', MODELS)
def test_shipped_model_bears_a_camera_that_sees_a_little_otherwise(name, shift):
    """What counts is where the robot is from the goal, and that is seen by the same camera."""
    model, world = checkpoint.load(name), make('two_rooms')
    places = [(0.2, 0.7), (0.25, 0.2), (0.75, 0.3), (0.8, 0.8), (0.4, 0.5), (0.6, 0.2)]
    images = _images(world, places)
    clean = model.position(model.encode(Observation({'overhead': images})))
    seen = torch.from_numpy(np.stack([SHIFTS[shift](image[0].numpy()) for image in images]))
    there = model.position(model.encode(Observation({'overhead': seen[:, None]})))
    assert (there - clean).norm(dim=1).mean() < 0.02


def test_shipped_model_of_inertia_knows_that_a_fast_robot_goes_on():
    model, world = checkpoint.load('inertial_two_rooms'), make('inertial_two_rooms')
    world.reset(options={'start': (0.15, 0.7)})
    frames = []
    for action in [(0.3, 0.0)] * 4 + [(0.0, 0.0)] * 2:
        frames.append(world.position)
        world.step(action)
    before, now = frames[-2:]
    latent = model.encode(_pairs(world, [before, now], [now, now]))
    assert model.velocity(latent)[0].tolist() == pytest.approx((now - before) / 0.2, abs=0.05)
    assert model.cost(latent[:1], latent[1]) > model.card.goal_tolerance
    places = model.position(model.rollout(latent[:, None], torch.zeros(2, 3, 1, 2))[:, -1])
    assert places[0, 0] - places[1, 0] > 0.06
    assert np.linalg.norm(places[1].numpy() - now) < 0.03


@pytest.mark.parametrize(('name', 'layout'), [
    (name, layout) for name in ('staggered_walls', 'random_door')
    for layout in (LAYOUTS[name].training[4], LAYOUTS[name].held_out[2])
])
def test_shipped_model_of_layouts_sees_a_wall_stop_the_robot_and_a_gap_let_it_pass(name, layout):
    model, world = checkpoint.load(name), make(name, layout=layout)
    gap, height = world.scene.doors[0], world.scene.doors[0].low[1]
    beside = height + 0.1 + (0.4 if height < 0.5 else -0.4)
    starts = [(gap.low[0] - 0.08, height + 0.1), (gap.low[0] - 0.08, beside)]
    latent = model.encode(Observation({'overhead': _images(world, starts)}))
    assert (model.position(latent) - torch.tensor(starts)).norm(dim=1).max() < 0.02
    ends = model.position(model.rollout(
        latent[:, None], torch.tensor([0.3, 0.0]).expand(2, 8, 1, 2))[:, -1])
    assert ends[0, 0] > gap.high[0] and ends[1, 0] < gap.low[0]


def test_shipped_card_has_its_origin_and_metrics():
    for name in (*MODELS, *SHIPPED_TASKS):
        card = checkpoint.load_card(name)
        assert card.name == name and card.goal_tolerance > 0
        assert card.training['command'].startswith('grasp-ros train')
        assert card.metrics['ordinary']['probe_error']['mean'] < 0.02


def test_rank_correlation_sees_order_alone():
    values = np.random.default_rng(0).random(100)
    assert rank_correlation(values, np.exp(5 * values)) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)


class CartPredictor:
    """Exact for a cart on a line whose latent is its place and ten times its way in a step."""

    def __call__(self, latent, action):
        place, way = latent.unbind(-1)
        way = way + 10 * action[:, 0]
        return torch.stack((place + way / 10, way), dim=-1)

    def rollout(self, latent, actions):
        latents = []
        for action in actions.unbind(1):
            latent = self(latent, action)
            latents.append(latent)
        return torch.stack(latents, dim=1)


@pytest.mark.parametrize(('noise', 'believed'), [(0.0, True), (0.05, False)])
def test_a_speed_is_believed_as_far_as_the_places_it_comes_from_are_exact(noise, believed):
    random = torch.Generator().manual_seed(0)
    # Slides a little by itself, which the model does not know: so much is there to be seen.
    actions = 0.1 * torch.randn(40, 60, 1, generator=random)
    slips = 0.02 * torch.randn(40, 60, 1, generator=random)
    ways = (actions + slips).cumsum(dim=1)[..., 0]
    places = torch.cat((torch.zeros(40, 1), ways.cumsum(dim=1)), dim=1)
    seen = places + noise * torch.randn(places.shape, generator=random)
    before = torch.cat((seen[:, :1], seen[:, :-1]), dim=1)
    latents = torch.stack((seen, 10 * (seen - before)), dim=-1)
    model = SimpleNamespace(card=SimpleNamespace(frames=2), predictor=CartPredictor())
    encoded = Encoded(latents=latents, goals=latents,
                      walks=SimpleNamespace(actions=actions.numpy()))
    place_gain, speed_gain = observer_gain(model, encoded, slice(None))
    assert place_gain == 1.0
    assert (speed_gain == 1.0) is believed


def test_goal_tolerance_keeps_its_precision():
    random = np.random.default_rng(0)
    distances = random.uniform(0, 0.2, 20000)
    costs = (distances + 0.003 * random.standard_normal(20000)) ** 2
    tolerance = goal_tolerance(costs, distances)
    score = goal_score(costs, distances, tolerance)
    assert score['precision_0.04'] >= 0.99 and score['recall_0.04'] > 0.9
    assert goal_tolerance(-distances, distances) == 0
