# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""GRASP's peers, each against a plain reference."""

import math

import numpy as np
import pytest
import tiny_world
import torch

from grasp_ros.errors import SolveError
from grasp_ros.planners import registry
from grasp_ros.planners.base import ActionLimits, Deadline, WarmStart
from grasp_ros.planners.descent import rollout_gradient
from grasp_ros.planners.icem import IcemConfig, coloured_noise
from grasp_ros.planners.latco import energy_gradient
from grasp_ros.planners.mppi import weights
from grasp_ros.planners.rollout import plan_cost, rollout
from grasp_ros.planners.sampling import correlated_noise, restart
from grasp_ros.world_models.jepa import Predictor

UNLIMITED = Deadline()


@pytest.fixture
def model():
    return tiny_world.TinyModel(tiny_world.CARD)


def cost_of(model, problem, actions, running_weight=1.0):
    latents = rollout(model, problem, actions[None])
    return float(plan_cost(model, problem.goal, latents, running_weight))


def plain_cost(model, problem, actions, states=None):
    """J of one plan, step by step; of given states where there are any."""
    path, blocks = list(problem.context), [*problem.past_actions, *actions]
    costs = []
    for t in range(len(actions)):
        if states is None:
            window = torch.stack(path[t : t + 2])[None]
            path.append(model.predict(window, torch.stack(blocks[t : t + 2])[None])[0])
        else:
            path.append(states[t])
        costs.append(model.cost(path[-1][None], problem.goal).sum())
    return costs[-1] + sum(costs) / len(costs)


def test_cem_refits_as_the_plain_reference_does(model):
    half = np.array([0.3, 0.2])
    limits = ActionLimits(low=torch.from_numpy(-half), high=torch.from_numpy(half))
    problem = tiny_world.problem(model, dtype=torch.float64, tick=3, limits=limits)
    planner = registry.make(
        'cem', model, horizon=5, iterations=2, samples=12, elites=3, return_best=0, seed=4
    )
    slow = torch.full((5, 2, 2), 0.1, dtype=torch.float64)
    plan = planner.solve(
        problem, WarmStart(actions=slow, states=None, incumbent=slow / 2), UNLIMITED
    )
    random = restart(torch.Generator(), seed=4, tick=3)
    mean, deviation = slow.numpy(), np.broadcast_to(0.5 * half, (5, 2, 2))
    for _ in range(2):
        noise = correlated_noise(torch.zeros(9, 5, 2, 2, dtype=torch.float64), random).numpy()
        samples = [mean, np.zeros_like(mean), slow.numpy() / 2]
        samples += [mean + deviation * n for n in noise]
        samples = [np.clip(sample, -half, half) for sample in samples]
        costs = [float(plain_cost(model, problem, torch.from_numpy(s))) for s in samples]
        elites = np.array([samples[i] for i in np.argsort(costs)[:3]])
        mean, deviation = elites.mean(axis=0), elites.std(axis=0)
    torch.testing.assert_close(plan.actions, torch.from_numpy(mean), rtol=0, atol=1e-6)


@pytest.mark.parametrize('exponent', [0.0, 1.0, 3.0])
@pytest.mark.parametrize('length', [15, 16])
def test_coloured_noise_has_unit_variance_and_the_spectrum_that_was_asked_for(exponent, length):
    random = torch.Generator().manual_seed(0)
    noise = coloured_noise((4000, length // 2, 2, 2), random, exponent=exponent)
    assert noise.shape == (4000, length // 2, 2, 2)
    noise = coloured_noise((4000, length, 1, 2), random, exponent=exponent)[:, :, 0]
    assert float(noise.std()) == pytest.approx(1.0, abs=0.02)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.02)
    power = torch.fft.rfft(noise, dim=1).abs().square().mean(dim=(0, 2))
    frequency = np.arange(1, len(power))
    slope = np.polyfit(np.log(frequency), np.log(power[1:].numpy()), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.1)
    assert float(power[0] / power[1]) == pytest.approx(1.0, abs=0.1)
    first, second = noise[:, :, 0], noise[:, :, 1]
    assert abs(float((first * second).mean())) < 0.05


def test_icem_keeps_elites_shrinks_and_tries_its_mean_last(model, monkeypatch):
    populations = []
    plain_rollout = type(model).rollout

    def seen(self, context, actions):
        populations.append(actions[:, 1:].clone())
        return plain_rollout(self, context, actions)

    monkeypatch.setattr(type(model), 'rollout', seen)
    planner = registry.make(
        'icem', model, horizon=5, iterations=3, samples=20, elites=4, keep_fraction=0.5,
        decay=2.0, momentum=0.0,
    )  # fmt: skip
    problem = tiny_world.problem(model)
    incumbent = torch.full((5, 2, 2), 0.05)
    warm_start = WarmStart(actions=incumbent * 2, states=None, incumbent=incumbent)
    plan = planner.solve(problem, warm_start, UNLIMITED)
    assert [IcemConfig(samples=20, elites=4, decay=2.0).population(i) for i in range(3)] == [
        20, 10, 8,
    ]  # fmt: skip
    # 20 and standing still and the incumbent; 10 and two elites; 8, two elites and the mean.
    assert [len(population) for population in populations] == [22, 12, 11, 4]
    assert not populations[0][20].any()
    assert torch.equal(populations[0][21], incumbent)
    elites = []
    for population in populations[:3]:
        costs = torch.stack([plain_cost(model, problem, actions) for actions in population])
        elites.append(population[costs.argsort()[:4]])
    torch.testing.assert_close(populations[1][10:], elites[0][:2])
    torch.testing.assert_close(populations[2][8:10], elites[1][:2])
    torch.testing.assert_close(populations[2][10], elites[1].mean(dim=0))
    torch.testing.assert_close(plan.iterate_actions, elites[2].mean(dim=0))
    assert plan.cost <= min(cost_of(model, problem, actions) for actions in elites[2]) + 1e-6


def test_mppi_weighs_by_cost_in_units_of_its_deviation():
    costs = torch.tensor([3.0, 1.0, math.inf, 2.0, 1.5], dtype=torch.float64)
    finite = np.array([3.0, 1.0, 2.0, 1.5])
    plain = np.exp(-(finite - 1.0) / (0.4 * finite.std()))
    expected = np.insert(plain / plain.sum(), 2, 0.0)
    np.testing.assert_allclose(weights(costs, 0.4).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(weights(costs * 1e3, 0.4).numpy(), expected, atol=1e-12)
    assert weights(torch.ones(4), 0.4).tolist() == [0.25] * 4
    with pytest.raises(SolveError):
        weights(torch.full((3,), math.inf), 0.4)


def test_mppi_answers_with_the_weighted_mean(model):
    problem = tiny_world.problem(model, dtype=torch.float64, tick=3)
    planner = registry.make(
        'mppi', model, horizon=5, iterations=2, samples=9, noise_decay=0.5, temperature=0.3, seed=4
    )
    plan = planner.solve(problem, None, UNLIMITED)
    random = restart(torch.Generator(), seed=4, tick=3)
    half = np.array([0.3, 0.2])
    mean, deviation = np.zeros((5, 2, 2)), 0.5 * half
    for _ in range(2):
        noise = correlated_noise(torch.zeros(7, 5, 2, 2, dtype=torch.float64), random).numpy()
        samples = [mean, np.zeros_like(mean), *(mean + deviation * noise)]
        samples = np.clip(np.array(samples), -half, half)
        costs = np.array([float(plain_cost(model, problem, torch.from_numpy(s))) for s in samples])
        share = np.exp(-(costs - costs.min()) / (0.3 * costs.std()))
        mean = np.tensordot(share / share.sum(), samples, axes=1)
        deviation = deviation / 2
    torch.testing.assert_close(plan.actions, torch.from_numpy(mean), rtol=0, atol=1e-6)


def adam_iterations(gradient_of, actions, *, iterations, rate, problem, falls=False):
    """Torch's own Adam, in units of half the action range, clamped after every step."""
    actions = actions.clone().requires_grad_(True)
    scaled = torch.optim.Adam([actions], lr=1.0, eps=1e-12)
    for n in range(iterations):
        before = actions.detach().clone()
        actions.grad = gradient_of(actions)
        scaled.step()
        left = (iterations - n) / iterations if falls else 1.0
        with torch.no_grad():
            step = (actions - before) * left * rate * problem.limits.half_range
            actions.copy_((before + step).clamp(problem.limits.low, problem.limits.high))
    return actions.detach()


def test_gradient_shooting_equals_adam_on_the_plain_cost(model):
    problem = tiny_world.problem(model, dtype=torch.float64)
    planner = registry.make(
        'gradient', model, horizon=5, iterations=6, action_rate=0.07, samples=0
    )
    expected = adam_iterations(
        lambda actions: torch.autograd.grad(plain_cost(model, problem, actions), actions)[0],
        torch.zeros(5, 2, 2, dtype=torch.float64), iterations=6, rate=0.07, problem=problem,
        falls=True,
    )  # fmt: skip
    plan = planner.solve(problem, None, UNLIMITED)
    torch.testing.assert_close(plan.actions, expected, rtol=0, atol=1e-7)


def test_gradient_shooting_gives_the_best_on_the_way(model):
    problem = tiny_world.problem(model, start=(0.5, 0.5), goal=(0.6, 0.5))
    once, often = (
        registry.make('gradient', model, horizon=5, iterations=n, action_rate=0.3)
        for n in (1, 2)
    )
    reached, overshot = (p.solve(problem, None, UNLIMITED) for p in (once, often))
    assert cost_of(model, problem, overshot.iterate_actions) > reached.cost
    assert overshot.cost <= reached.cost


def test_latco_descends_the_energy_uncut(model):
    problem = tiny_world.problem(model, dtype=torch.float64)
    random = torch.Generator().manual_seed(1)
    states = torch.rand((3, 6, 2, 2), generator=random, dtype=torch.float64)
    actions = torch.rand((3, 6, 2, 2), generator=random, dtype=torch.float64) - 0.5
    prices = torch.rand((3, 6), generator=random, dtype=torch.float64) * 5
    violation, by_state, by_action = energy_gradient(
        model, problem, states, actions, prices, 1.0
    )
    for plan in range(3):
        s, a = (x[plan].clone().requires_grad_(True) for x in (states, actions))
        path, blocks = [*problem.context, *s], [*problem.past_actions, *a]
        gaps = []
        for t in range(6):
            window = torch.stack(path[t : t + 2])[None]
            p = model.predict(window, torch.stack(blocks[t : t + 2])[None])
            gaps.append(((p[0] - s[t]) / model.card.latent_scale).square().mean())
        energy = plain_cost(model, problem, a, s)
        energy = energy + sum(
            price * gap for price, gap in zip(prices[plan], gaps, strict=True)
        ) / 6
        expected = torch.autograd.grad(energy, (s, a))
        torch.testing.assert_close(violation[plan], torch.stack(gaps).detach())
        torch.testing.assert_close(by_state[plan], expected[0])
        torch.testing.assert_close(by_action[plan], expected[1])


def test_latco_comes_to_keep_the_dynamics(model):
    problem = tiny_world.problem(model)

    def gap(**settings):
        planner = registry.make('latco', model, horizon=6, **settings)
        plan = planner.solve(problem, None, UNLIMITED)
        predicted = rollout(model, problem, plan.iterate_actions[None])[0]
        return float(model.cost(predicted, plan.iterate_states).mean())

    rising = gap(iterations=300, price=0.1, price_rate=0.1)
    constant_price = gap(iterations=300, price=0.1, price_rate=0.0)
    assert rising < 0.1 * constant_price


def test_unlifted_is_grasp_with_the_states_set_to_the_rollout(model):
    problem = tiny_world.problem(model, dtype=torch.float64)

    def one_step_gradient(actions):
        states = rollout(model, problem, actions.detach()[None])[0]
        path, blocks = [*problem.context, *states], [*problem.past_actions, *actions]
        energy = 0.0
        for t in range(len(actions)):
            window = torch.stack(path[t : t + 2])[None]
            p = model.predict(window, torch.stack(blocks[t : t + 2])[None])
            energy = energy + model.cost(p, states[t]).sum()  # zero, and so is its gradient
            energy = energy + model.cost(p, problem.goal).sum()
        return torch.autograd.grad(energy, actions)[0]

    expected = adam_iterations(
        one_step_gradient, torch.zeros(5, 2, 2, dtype=torch.float64), iterations=4, rate=0.07,
        problem=problem,
    )  # fmt: skip
    planner = registry.make('unlifted', model, horizon=5, iterations=4, action_rate=0.07)
    plan = planner.solve(problem, None, UNLIMITED)
    assert plan.source == 'solve'
    torch.testing.assert_close(plan.iterate_actions, expected, rtol=0, atol=1e-7)


def test_unlifted_has_grasps_settings_and_defaults():
    grasp, unlifted = (registry.PLANNERS[name].config() for name in ('grasp', 'unlifted'))
    shared = registry.settings_of('unlifted')
    assert {'horizon', 'iterations', 'restarts', 'action_rate', 'sync_every'} <= shared
    assert all(getattr(grasp, name) == getattr(unlifted, name) for name in shared)


def test_a_sync_of_unlifted_lowers_the_terminal_cost(model):
    problem = tiny_world.problem(model)
    costs = [
        registry.make(
            'unlifted', model, horizon=10, iterations=5, action_rate=0.0, running_weight=0.0,
                samples=0,
            sync_every=every, sync_steps=5,
        ).solve(problem, None, UNLIMITED).cost
        for every in (0, 5)
    ]  # fmt: skip
    assert costs[1] < 0.8 * costs[0]


@pytest.mark.parametrize('static_size', [0, 2])
def test_the_predictors_pullback_of_a_rollout_is_the_gradient(static_size):
    torch.manual_seed(0)
    predictor = Predictor(
        latent_size=6, action_size=2, action_scale=0.3, width=8, static_size=static_size
    ).double()
    if static_size:  # as after training; it starts at zero
        torch.nn.init.normal_(predictor.straight.weight)
    latent = torch.randn(3, 6, dtype=torch.float64)
    actions = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(3, 5, 6, dtype=torch.float64)
    expected_latents = predictor.rollout(latent, actions)
    expected = torch.autograd.grad(expected_latents, actions, cotangent)[0]
    latents, pullback = predictor.rollout_with_vjp(latent, actions.detach())
    assert not latents.requires_grad
    torch.testing.assert_close(latents, expected_latents.detach())
    torch.testing.assert_close(pullback(cotangent), expected)


def test_the_gradient_through_the_rollout_is_that_of_the_cost(model):
    problem = tiny_world.problem(model, dtype=torch.float64)
    actions = torch.randn(2, 4, 2, 2, dtype=torch.float64)
    costs, gradient = rollout_gradient(model, problem, actions, 0.7)
    leaf = actions.clone().requires_grad_(True)
    expected = plan_cost(model, problem.goal, rollout(model, problem, leaf), 0.7)
    torch.testing.assert_close(costs, expected.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), leaf)[0])
