# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Half precision and CUDA graphs: faster, and the same plans. What needs a GPU skips without."""

import time

import pytest
import torch
from ticks import drive

from grasp_ros.benchmark.sized import Size, SizedModel
from grasp_ros.control.controller import TickStatus
from grasp_ros.errors import ConfigError, ModelError
from grasp_ros.planners import registry
from grasp_ros.planners.base import Deadline, Problem
from grasp_ros.training.evaluate import card_limits
from grasp_ros.world_models import checkpoint, contract
from grasp_ros.world_models.accelerated import Accelerated, accelerate
from grasp_ros.world_models.captured import Captured, Graphs

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
GPU = torch.device('cuda')
PATCHES = Size('patches', 28, (8, 1, 2), False, 4, (2, 2, 4, 16))


def sized(device='cpu'):
    return SizedModel(PATCHES).to(device).eval().requires_grad_(False)


def latents(model, count, seed=0):
    random = torch.Generator().manual_seed(seed)
    card = model.card
    found = torch.randn((count, *card.latent_shape), generator=random) * card.latent_scale
    return found.to(model.device, next(model.parameters()).dtype)


def problem_of(model, tick=0):
    card = model.card
    there = latents(model, card.history + 1, seed=tick)
    still = there.new_zeros(card.action_size)
    return Problem(
        context=there[:-1], goal=there[-1], limits=card_limits(model), previous_action=still,
        safe_action=still, tick=tick,
        past_actions=there.new_zeros((card.history - 1, card.action_block, card.action_size)),
    )  # fmt: skip


def test_on_the_cpu_in_full_precision_it_is_the_model_itself():
    model = sized()
    assert accelerate(model, precision='float32', cuda_graphs=True) is model


def test_half_precision_is_close_and_gives_float32():
    exact = sized()
    rough = accelerate(sized(), precision='bfloat16', cuda_graphs=True)
    context = latents(exact, 6).view(2, 3, *exact.card.latent_shape)
    actions = torch.full((2, 3, 5, 2), 0.1)
    wanted, found = exact.predict(context, actions), rough.predict(context, actions)
    assert found.dtype == torch.float32 and not torch.equal(found, wanted)
    assert torch.allclose(found, wanted, atol=0.1)
    (_, pulled), (_, roughly) = (m.predict_with_vjp(context, actions) for m in (exact, rough))
    wanted, found = pulled(context[:, 0]), roughly(context[:, 0])
    assert torch.nn.functional.cosine_similarity(found.flatten(), wanted.flatten(), dim=0) > 0.99


def test_half_precision_halves_the_weights():
    model = sized()
    before = sum(p.nbytes for p in model.parameters())
    rough = accelerate(model, precision='bfloat16', cuda_graphs=True)
    assert sum(p.nbytes for p in rough.parameters()) < 0.7 * before


def test_it_drives_in_half_precision():
    model = accelerate(sized(), precision='bfloat16', cuda_graphs=True)
    assert all(tick.status.drives for tick in drive(model))


def test_a_model_that_cannot_be_run_so_is_refused_with_the_parameter():
    with pytest.raises(ModelError, match='model.precision: float32'):
        checkpoint.load('two_rooms', precision='bfloat16')
    with pytest.raises(ConfigError, match='float16.*bfloat16'):
        checkpoint.load('two_rooms', precision='float16')


def test_a_place_is_known_in_half_precision_too():
    class WithProbe(SizedModel):
        def __init__(self):
            super().__init__(PATCHES)
            self.probe = torch.nn.Linear(8, 2)

        def position(self, latent):
            return self.probe(latent.mean(dim=1))

    model = accelerate(WithProbe().eval().requires_grad_(False), precision='bfloat16',
                       cuda_graphs=True)
    place = model.position(latents(model, 3))
    assert place.shape == (3, 2) and place.dtype == torch.float32
    assert accelerate(sized(), precision='bfloat16', cuda_graphs=True).position(
        latents(sized(), 1)) is None


@needs_gpu
@pytest.mark.parametrize('make', [sized, lambda device: checkpoint.load(
    'staggered_walls', device=device, cuda_graphs=False)], ids=['patches', 'staggered_walls'])
def test_graphs_give_what_calls_give(make):
    plain = make(GPU)
    fast = accelerate(make(GPU), precision='float32', cuda_graphs=True)
    card = plain.card
    for count in (1, 3, 1, 3, 3):  # the second of each is captured
        context = latents(plain, count * card.history, seed=count)
        context = context.view(count, card.history, *card.latent_shape)
        blocks = 0.1 * torch.randn((count, card.history + 5, card.action_block, 2), device=GPU)
        for name in ('predict', 'rollout'):
            given = blocks[:, : card.history] if name == 'predict' else blocks
            wanted = getattr(plain, name)(context, given)
            assert torch.allclose(getattr(fast, name)(context, given), wanted, atol=1e-5)
        seen = contract.black(card, count, GPU)
        assert torch.allclose(fast.encode(seen), plain.encode(seen), atol=1e-5)


@needs_gpu
def test_what_was_given_before_stays_as_it_was():
    captured = Captured(lambda values: values * 2, Graphs(GPU))
    ones = torch.ones(3, device=GPU)
    first, second, third = (captured(n * ones) for n in (1, 2, 3))
    assert [float(t[0]) for t in (first, second, third)] == [2, 4, 6]


@needs_gpu
@pytest.mark.parametrize('double', [True, False])
def test_a_solve_gives_on_the_gpu_what_it_gives_on_the_cpu(double):
    """Without noise on the states, which is drawn on the device."""
    settings = {'horizon': 80, 'restarts': 64, 'samples': 63, 'noise_scale': 0.0}
    plans = []
    for device in ('cpu', 'cuda'):
        model = checkpoint.load('two_rooms', device=device, cuda_graphs=False)
        model = model.double() if double else model
        if device == 'cuda':
            # Not tried by `accelerate`: the contract asks for float32.
            model = Accelerated(model, precision='float32', cuda_graphs=True)
        planner = registry.make('grasp', model, **settings)
        for _ in range(3):
            plan = planner.solve(problem_of(model), None, Deadline())
        plans.append(plan)
    apart = (plans[0].branches.actions.cpu() - plans[1].branches.actions.cpu()).abs() / 0.3
    # Adam divides by the size of a gradient, however small: what is not a digit can become one.
    assert float(apart.max() if double else apart.median()) < 1e-5


@needs_gpu
@pytest.mark.parametrize('settings', [{}, {'restarts': 4, 'sync_every': 3}, {
    'sync_every': 4, 'sync_samples': 16, 'noise_decay': 1.0, 'goal_decay': 0.5}], ids=str)
def test_graphs_plan_as_calls_do_noise_included(settings):
    found = []
    for graphs in (False, True):
        model = checkpoint.load('staggered_walls', device=GPU, cuda_graphs=graphs)
        planner = registry.make('grasp', model, **settings)
        found.append([planner.solve(problem_of(model, tick), None, Deadline())
                      for tick in range(4)])
    for plain, fast in zip(*found, strict=True):
        assert fast.iterations == plain.iterations and fast.syncs == plain.syncs
        apart = (plain.branches.actions - fast.branches.actions).abs()
        assert float(apart.median()) < 1e-5


@needs_gpu
@pytest.mark.parametrize('name', ['grasp', 'cem', 'icem', 'mppi', 'gradient', 'latco', 'unlifted'])
def test_every_planner_drives_on_a_gpu(name):
    model = accelerate(sized(GPU), precision='float32', cuda_graphs=True)
    ticks = drive(model, planner=name)
    assert {tick.status for tick in ticks} == {TickStatus.SOLVED, TickStatus.IN_BLOCK}


@needs_gpu
def test_a_model_that_asks_the_device_for_a_number_is_refused_with_the_parameter():
    class Asking(SizedModel):
        def predict(self, context, actions):
            return super().predict(context, actions) * (1.0 if actions.max().item() < 9 else 2.0)

    model = Asking(PATCHES).to(GPU).eval().requires_grad_(False)
    with pytest.raises(ModelError, match='model.cuda_graphs: false'):
        accelerate(model, precision='float32', cuda_graphs=True)
    assert torch.isfinite(model.encode(contract.black(model.card, 1, GPU))).all()


@needs_gpu
def test_a_cost_that_asks_is_found_when_plans_are_ranked():
    class Asking(SizedModel):
        def cost(self, latent, goal):
            return super().cost(latent, goal) * (1.0 if latent.max().item() < 1e9 else 2.0)

    model = accelerate(Asking(PATCHES).to(GPU).eval().requires_grad_(False),
                       precision='float32', cuda_graphs=True)
    planner = registry.make('grasp', model, horizon=3)
    with pytest.raises(ModelError, match='model.cuda_graphs: false'):
        for _ in range(2):
            planner.solve(problem_of(model), None, Deadline())


@needs_gpu
def test_a_deadline_is_kept_on_a_gpu_too():
    """The host only says what to do: the time that passes there is not the time that it takes."""
    model = checkpoint.load('two_rooms', device=GPU)
    planner = registry.make('grasp', model, horizon=80, restarts=64, samples=63,
                            iterations=100_000)
    problem = problem_of(model)
    for _ in range(3):
        planner.solve(problem, None, Deadline(time.monotonic() + 0.2))
    before = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    before[0].record()
    plan = planner.solve(problem, None, Deadline(time.monotonic() + 0.2))
    before[1].record()
    torch.cuda.synchronize()
    assert plan.stopped == 'deadline' and plan.iterations > 10
    assert before[0].elapsed_time(before[1]) < 400
