# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a plan is shifted to the present."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grasp_ros.control.warm_start import shift
from grasp_ros.planners.base import Branches, Plan


def some_plan(horizon=4, block=2):
    steps = torch.arange(1, horizon + 1, dtype=torch.float32).reshape(-1, 1)
    actions = torch.arange(horizon * block, dtype=torch.float32).reshape(horizon, block, 1)
    return Plan(
        actions=actions + 100,
        rollout=steps,
        cost=0.0,
        iterate_actions=actions,
        iterate_states=steps,
        iterations=1,
        stopped='iterations',
        source='incumbent',
        branches=Branches(
            (actions + 100)[None], steps[None], torch.zeros(1), 1.0, torch.zeros(1, block, 1)
        ),
    )


@pytest.mark.parametrize(
    ('elapsed', 'horizon', 'actions', 'states'),
    [
        (0, 4, [0, 1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4]),
        (2, 4, [2, 3, 4, 5, 6, 7, 7, 7], [2, 3, 4, 9]),
        (3, 4, [3, 4, 5, 6, 7, 7, 7, 7], [2.5, 3.5, 6.5, 9]),
        (2, 2, [2, 3, 4, 5], [2, 3]),
        (4, 6, [4, 5, 6, 7] + 8 * [7], [3, 4, 9, 9, 9, 9]),
    ],
)
def test_a_shift_follows_its_rule(elapsed, horizon, actions, states):
    goal = torch.tensor([9.0])
    warm = shift(some_plan(), elapsed_steps=elapsed, horizon=horizon, goal=goal)
    assert warm.actions.flatten().tolist() == actions
    assert torch.equal(warm.incumbent, warm.actions + 100)
    assert warm.states.flatten().tolist() == states
    only = shift(some_plan(), elapsed_steps=elapsed, horizon=horizon, goal=goal, mode='actions')
    assert only.states is None
    assert torch.equal(only.actions, warm.incumbent)


def test_a_plan_that_is_over_gives_no_warm_start():
    goal = torch.tensor([9.0])
    assert shift(some_plan(), elapsed_steps=8, horizon=4, goal=goal) is None
    assert shift(some_plan(), elapsed_steps=1, horizon=4, goal=goal, mode='none') is None


@settings(deadline=None)
@given(
    first=st.integers(0, 8), second=st.integers(0, 8), block=st.integers(1, 3),
    horizon=st.integers(2, 6),
)
def test_two_shifts_of_actions_equal_one(first, second, block, horizon):
    plan, goal = some_plan(horizon, block), torch.tensor([9.0])
    once = shift(plan, elapsed_steps=first + second, horizon=horizon, goal=goal)
    half = shift(plan, elapsed_steps=first, horizon=horizon, goal=goal)
    if once is None or half is None:
        return
    middle = replace(plan, iterate_actions=half.actions, iterate_states=half.states)
    twice = shift(middle, elapsed_steps=second, horizon=horizon, goal=goal)
    assert torch.equal(twice.actions, once.actions)
