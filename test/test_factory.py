# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models that a user's own function makes: what is named runs, what is wrong fails by name."""

import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from ticks import drive

from grasp_ros.control.controller import TickStatus
from grasp_ros.errors import CardError, CheckpointError, ConfigError, ModelError
from grasp_ros.planners import registry
from grasp_ros.planners.base import Deadline, Problem
from grasp_ros.training.evaluate import card_limits
from grasp_ros.world_models import checkpoint

DOCS = Path(__file__).resolve().parent.parent / 'docs'
EXAMPLE = 'python:example_model:make'
BASE = """
    import torch
    from grasp_ros.world_models.base import ActionSpec, CameraSpec, LatentModel, ModelCard

    CARD = ModelCard(
        name='mine', architecture={}, cameras={'c': CameraSpec(2, 2)},
        actions=(ActionSpec('linear.x', 'm/s', -1.0, 1.0),), latent_shape=(3,), model_step_sec=0.1,
    )

    class Mine(LatentModel):
        def encode(self, observation):
            return observation.images['c'].float().flatten(1)[:, :3]

        def predict(self, context, actions):
            return context[:, -1] + actions[:, -1, 0]

    def make():
        return Mine(CARD)
"""


@pytest.fixture
def example(monkeypatch):
    """The example of the documentation can be imported."""
    monkeypatch.syspath_prepend(DOCS)


@pytest.fixture
def mine(tmp_path, monkeypatch, request):
    """Writes a user's module, and gives its name; a new one each time, for Python keeps them."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(more='', base=BASE):
        name = f'mine_{len(list(tmp_path.iterdir()))}_{abs(hash(request.node.name))}'
        text = textwrap.dedent(base) + textwrap.dedent(more)
        (tmp_path / f'{name}.py').write_text(text)
        return name

    return write


def test_the_example_is_one_file_of_at_most_eighty_lines():
    assert len((DOCS / 'example_model.py').read_text().splitlines()) <= 80


def test_the_example_of_the_documentation_runs_in_the_controller(example):
    torch.manual_seed(0)
    ticks = drive(checkpoint.load(EXAMPLE))
    assert {tick.status for tick in ticks} <= {TickStatus.SOLVED, TickStatus.IN_BLOCK}
    assert [tick.status for tick in ticks].count(TickStatus.SOLVED) == 3  # blocks of five
    actions = np.array([tick.action for tick in ticks])
    assert np.isfinite(actions).all() and np.abs(actions).max() <= 0.3 + 1e-6
    assert np.abs(actions).max() > 0


@pytest.mark.parametrize(
    'planner', ['grasp', 'cem', 'icem', 'mppi', 'gradient', 'latco', 'unlifted']
)
def test_every_planner_takes_tokens_history_and_blocks_wherever_they_lie(example, planner):
    torch.manual_seed(0)
    model = checkpoint.load(EXAMPLE)
    expected = drive(model, ticks=6, planner=planner)
    encode, predict = model.encode, model.predict

    def turned(latent):  # the same numbers, the axes in another order in memory
        return latent.transpose(1, 2).contiguous().transpose(1, 2)

    model.encode = lambda observation: turned(encode(observation))
    model.predict = lambda context, actions: turned(predict(context, actions))
    for tick, same in zip(expected, drive(model, ticks=6, planner=planner), strict=True):
        assert tick.status in (TickStatus.SOLVED, TickStatus.IN_BLOCK)
        np.testing.assert_allclose(tick.action, same.action, atol=1e-4)


def test_lifted_states_stay_where_the_encoder_could_have_put_them(example, monkeypatch):
    torch.manual_seed(0)
    model = checkpoint.load(EXAMPLE)
    norm, project = model.network.norm, model.project
    with torch.no_grad():  # one that does more than to divide
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.normal_()
    latents = norm(torch.randn(3, 16, 24))
    assert torch.allclose(project(latents), latents, atol=1e-4)
    still = torch.zeros(2)
    problem = Problem(
        context=latents[:2], past_actions=torch.zeros(1, 5, 2), goal=latents[2],
        limits=card_limits(model), previous_action=still, safe_action=still,
    )  # fmt: skip
    planner = registry.make('grasp', model, horizon=5, iterations=3, noise_scale=0.3, samples=0)
    states = planner.solve(problem, None, Deadline()).iterate_states[:-1]
    assert torch.allclose(project(states), states, atol=1e-3)
    monkeypatch.delattr(type(model), 'project')  # nor is that so by itself
    states = planner.solve(problem, None, Deadline()).iterate_states[:-1]
    assert not torch.allclose(project(states), states, atol=0.1)


def test_arguments_reach_the_function(example, tmp_path):
    torch.manual_seed(1)
    first = checkpoint.load(EXAMPLE)
    weights = tmp_path / 'weights=1.safetensors'
    save_file(first.network.state_dict(), weights)
    second, third = checkpoint.load(f'{EXAMPLE}?weights={weights}'), checkpoint.load(EXAMPLE)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])
    assert not torch.equal(first.network.mixer.weight, third.network.mixer.weight)


def test_the_card_of_a_function_is_that_of_its_model(example):
    assert checkpoint.load_card(EXAMPLE).name == 'example'


def test_a_model_that_was_made_is_in_evaluation_mode_and_without_gradients(mine):
    made = checkpoint.load(f'python:{mine()}:make')
    assert not made.training and not any(p.requires_grad for p in made.parameters())


def test_what_needs_a_folder_says_so():
    with pytest.raises(CheckpointError, match='has no folder'):
        checkpoint.resolve(EXAMPLE)


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('python:', 'is not python:package'),
        ('python:example_model', 'is not python:package'),
        ('python:example_model:', 'is not python:package'),
        ('python:example_model:make?weights', 'is not python:package'),
        ('python:no_such_module:make', 'no module no_such_module: install'),
        ('python:example_model.part:make', 'no module example_model.part: install'),
        ('python:example_model:build', 'no function build in .*example_model.py'),
        ('python:example_model:CARD', 'no function CARD'),
        ('python:sys:make', 'no function make in sys'),
        ('python:example_model:make?colour=red', "TypeError: .*'colour'"),
        ('python:example_model:make?weights=/no/such/file', 'FileNotFoundError'),
        ('python:example_model:YourNetwork?tokens=1&width=1&inputs=1', 'TypeError'),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_the_reason(example, name, reason):
    with pytest.raises(ModelError, match=reason):
        checkpoint.load(name)


def test_a_module_that_needs_another_one_names_that(mine):
    name = mine(base='import no_such_dependency\n')
    with pytest.raises(ModelError, match="No module named 'no_such_dependency'.*, line 1"):
        checkpoint.load(f'python:{name}:make')


def test_what_a_function_raises_is_reported_with_its_place(mine):
    name = mine("""
        def fail():
            raise RuntimeError('the disk is full')
    """)
    with pytest.raises(ModelError, match=rf'the disk is full \(.*{name}\.py, line \d+\)'):
        checkpoint.load(f'python:{name}:fail')


def test_a_function_that_ends_the_program_does_not(mine):
    name = mine("""
        import argparse

        def parse():
            argparse.ArgumentParser().parse_args(['--no-such-option'])
    """)
    with pytest.raises(ModelError, match='SystemExit: 2'):
        checkpoint.load(f'python:{name}:parse')


@pytest.mark.parametrize(
    ('change', 'error', 'reason'),
    [
        ('Mine.encode = lambda self, o: torch.zeros(2, 4)', CardError, r'\(2, 4\) for 1 rows'),
        ('Mine.encode = lambda self, o: torch.zeros(2, 3).double()', CardError, 'float64'),
        ('Mine.encode = lambda self, o: None', CardError, 'gives a NoneType'),
        ('Mine.predict = lambda self, c, a: c', CardError, r'predict gives .*\(1, 1, 3\)'),
        ('Mine.predict = lambda self, c, a: c @ c', ModelError, 'first try failed: RuntimeError'),
        ('Mine.predict = lambda self, c, a: c[:, -1]', ModelError, 'first try failed'),
        ('Mine.rollout = lambda self, c, a: c', CardError, r'rollout gives .*\(1, 2, 3\)'),
        ('Mine.rollout_with_vjp = lambda self, c, a: (c[:, :0], None)', CardError, 'with_vjp'),
        ('Mine.cost = lambda self, s, g: (s - g).abs()', CardError, 'cost gives'),
        ('make = lambda: setattr(m := Mine(CARD), "card", {}) or m', CardError, 'is a dict, no'),
        ('make = lambda: torch.nn.Linear(1, 1)', ModelError, 'returned a Linear'),
        ('make = lambda: None', ModelError, 'returned a NoneType'),
    ],
)  # fmt: skip
def test_a_model_that_breaks_the_contract_fails_by_name(mine, change, error, reason):
    with pytest.raises(error, match=reason):
        checkpoint.load(f'python:{mine(change)}:make')


def test_weights_that_are_not_finite_are_refused(mine):
    name = mine("""
        def bad():
            made = Mine(CARD)
            made.gain = torch.nn.Parameter(torch.tensor([float('nan')]))
            return made
    """)
    with pytest.raises(CheckpointError, match='not finite in gain'):
        checkpoint.load(f'python:{name}:bad')


def test_a_device_that_is_not_there_is_refused(mine):
    with pytest.raises(ConfigError, match='abacus'):
        checkpoint.load(f'python:{mine()}:make', device='abacus')
