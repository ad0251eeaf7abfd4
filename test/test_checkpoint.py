# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: what ships loads and keeps the contract; what is broken fails by name."""

import json
import math
import pickle
import resource
import signal
from dataclasses import replace

import pytest
import torch

from grasp_ros.errors import CardError, CheckpointError, ObservationError
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import ModelCard, Observation, WorldModel

SHIPPED = [
    'inertial_two_rooms', 'point_maze', 'random_door', 'staggered_walls', 'two_rooms',
    'two_rooms_no_metric',
]


def pictures(model, count=3):
    card = model.card
    (name, camera), = card.cameras.items()
    shape = (count, card.frames, camera.height, camera.width, 3)
    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=source)
    actions = torch.zeros(count, card.frames - 1, 1, 2)
    return Observation(images={name: images}, actions=actions if card.frames > 1 else None)


@pytest.fixture
def copy(tmp_path):
    """A copy of a shipped checkpoint that may be spoilt."""
    folder = tmp_path / 'model'
    checkpoint.save(checkpoint.load('two_rooms'), folder)
    return folder


def edit_card(folder, **changes):
    path = folder / checkpoint.CARD_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize('name', SHIPPED)
def test_what_ships_loads_and_keeps_the_contract(name):
    model = checkpoint.load(name)
    card = model.card
    assert isinstance(model, WorldModel)
    assert card.name == name
    assert [action.name for action in card.actions] == ['linear.x', 'linear.y']
    assert card.goal_tolerance > 0
    latent = model.encode(pictures(model))
    assert latent.shape == (3, *card.latent_shape)
    context, actions = latent.unsqueeze(1), torch.zeros(3, 1, 1, 2)
    following = model.predict(context, actions)
    assert following.shape == latent.shape
    torch.testing.assert_close(model.cost(latent, latent), torch.zeros(3))
    assert model.position(latent).shape == (3, 2)


@pytest.mark.parametrize('name', SHIPPED)
def test_the_hand_written_derivatives_are_those_of_autograd(name):
    model = checkpoint.load(name).double()
    source = torch.Generator().manual_seed(1)
    latent = torch.randn(5, 1, *model.card.latent_shape, dtype=torch.float64, generator=source)
    goal = torch.randn(*model.card.latent_shape, dtype=torch.float64, generator=source)
    actions = torch.randn(5, 1, 1, 2, dtype=torch.float64, generator=source)
    cotangent = torch.randn(5, *model.card.latent_shape, dtype=torch.float64, generator=source)
    given, pullback = model.predict_with_vjp(latent, actions)
    leaf = actions.clone().requires_grad_(True)
    plain = model.predict(latent, leaf)
    torch.testing.assert_close(given, plain.detach())
    expected = torch.autograd.grad(plain, leaf, cotangent)[0]
    torch.testing.assert_close(pullback(cotangent), expected)
    state = latent[:, 0].clone().requires_grad_(True)
    slope = torch.autograd.grad(model.cost(state, goal).sum(), state)[0]
    torch.testing.assert_close(model.cost_gradient(latent[:, 0], goal), slope)


@pytest.mark.parametrize('name', SHIPPED)
def test_a_rollout_is_prediction_after_prediction(name):
    model = checkpoint.load(name)
    latent = model.encode(pictures(model, count=2)).double()
    model.double()  # float32 rounds a batch of one and a batch of two differently
    actions = torch.rand(2, 7, 1, 2, dtype=torch.float64) * 0.6 - 0.3
    rolled = model.rollout(latent.unsqueeze(1), actions)
    for step in range(7):
        latent = model.predict(latent.unsqueeze(1), actions[:, step : step + 1])
        torch.testing.assert_close(rolled[:, step], latent, rtol=1e-4, atol=1e-5)


def test_saving_and_loading_gives_the_same_model(copy):
    first, second = checkpoint.load('two_rooms'), checkpoint.load(copy)
    assert first.card == second.card
    observation = pictures(first)
    assert torch.equal(first.encode(observation), second.encode(observation))


def test_weights_have_the_rights_of_the_card(copy):
    checkpoint.save(checkpoint.load(copy), copy)
    modes = {name: (copy / name).stat().st_mode for name in ('card.json', 'model.safetensors')}
    assert len(set(modes.values())) == 1, modes


def test_weights_that_cannot_be_written_leave_those_of_before(copy):
    model, before = checkpoint.load(copy), (copy / 'model.safetensors').read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as if the disk were full
        with pytest.raises(CheckpointError, match='too large'):
            checkpoint.save(model, copy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (copy / 'model.safetensors').read_bytes() == before
    assert sorted(path.name for path in copy.iterdir()) == ['card.json', 'model.safetensors']


def test_a_missing_checkpoint_names_those_that_ship(tmp_path):
    with pytest.raises(CheckpointError, match=', '.join(SHIPPED)):
        checkpoint.load(tmp_path)


def test_truncated_weights_are_refused(copy):
    weights = copy / checkpoint.WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r'model\.safetensors'):
        checkpoint.load(copy)


def test_weights_of_another_shape_are_refused(copy):
    card = json.loads((copy / checkpoint.CARD_FILE).read_text())
    edit_card(copy, architecture=card['architecture'] | {'predictor_width': 7})
    with pytest.raises(CheckpointError, match='does not fit'):
        checkpoint.load(copy)


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.exit, ('a pickle was executed',))


def test_a_pickle_is_refused_and_not_executed(copy):
    (copy / checkpoint.WEIGHTS_FILE).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError):
        checkpoint.load(copy)


def test_weights_that_are_not_finite_are_refused(copy):
    model = checkpoint.load(copy)
    next(iter(model.parameters())).data.view(-1)[0] = float('nan')
    checkpoint.save(model, copy)
    with pytest.raises(CheckpointError, match='not finite'):
        checkpoint.load(copy)


@pytest.mark.parametrize(
    ('changes', 'error', 'reason'),
    [
        ({'architecture': {'type': 'os.system'}}, CheckpointError, 'unknown; known: jepa'),
        ({'architecture': {'type': ['jepa']}}, CheckpointError, 'unknown; known: jepa'),
        ({'architecture': []}, CardError, 'architecture must hold names and values'),
        ({'training': None}, CardError, 'training must hold names and values'),
        ({'format': 99}, CardError, 'format 99'),
        ({'model_step_sec': 0.0}, CardError, 'model_step_sec'),
        ({'action_block': 0}, CardError, 'action_block'),
        ({'history': math.inf}, CardError, 'history must be whole'),
        ({'frames': 1.0}, CardError, 'frames must be whole'),
        ({'latent_shape': [0]}, CardError, 'latent_shape must be whole'),
        ({'latent_shape': ['8']}, CardError, 'latent_shape must be whole'),
        ({'cameras': {'top': {'height': -4, 'width': 64}}}, CardError, 'camera top: height'),
        ({'latent_scale': 'large'}, CardError, 'TypeError'),
        ({'goal_tolerance': -1.0}, CardError, 'goal_tolerance'),
        ({'observer_gain': [0.0]}, CardError, 'observer_gain'),
        ({'observer_gain': [0.5, 0.5]}, CardError, 'observer_gain'),
        ({'colour': 'red'}, CardError, 'colour'),
        ({'actions': []}, CardError, 'at least one'),
        ({'actions': [{'name': 'x', 'unit': 'm/s', 'low': 1.0, 'high': 0.0}]}, CardError, 'low'),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(copy, changes, error, reason):
    edit_card(copy, **changes)
    with pytest.raises(error, match=reason):
        checkpoint.load(copy)


def test_sizes_that_no_network_can_have_are_refused(copy):
    architecture = checkpoint.load_card(copy).architecture
    edit_card(copy, architecture={**architecture, 'encoder_width': -4})
    with pytest.raises(CardError, match=r'card\.json: architecture'):
        checkpoint.load(copy)


@pytest.mark.parametrize('text', ['', '[1, 2]', '{"name": '])
def test_a_broken_card_is_refused(copy, text):
    (copy / checkpoint.CARD_FILE).write_text(text)
    with pytest.raises((CheckpointError, CardError), match=r'card\.json'):
        checkpoint.load(copy)


def test_a_card_survives_json():
    card = checkpoint.load_card('two_rooms')
    assert ModelCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_a_picture_that_does_not_fit_is_refused_by_name():
    model = checkpoint.load('two_rooms')
    good = pictures(model)
    (name, images), = good.images.items()
    for wrong, reason in (
        ({name: images[:, :, :-1]}, name),
        ({name: images.float()}, 'uint8'),
        ({'other': images}, 'other'),
        ({}, name),
    ):
        with pytest.raises(ObservationError, match=reason):
            model.encode(replace(good, images=wrong))
