# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stops by what is seen, and the warm start's end, each with its reason."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_world
import torch
from cart_world import Cart, CartModel, cart_card, make_controller
from hypothesis import given, settings
from hypothesis import strategies as st

from grasp_ros.control.sight import PATIENCE
from grasp_ros.control.tick import COLD, TickStatus
from grasp_ros.control.timeline import Timing
from grasp_ros.control.warm_start import Drop, shift
from grasp_ros.errors import NotFiniteError, SolveError
from grasp_ros.planners import registry
from grasp_ros.planners.base import Branches, Plan

AT_ONCE = Timing(0.0)
# A cost is the mean over x and y of (distance / 0.3)^2: 3 mm are 5e-5, full speed is 5e-3.
LIMITS = {'innovation_limit': 5e-5, 'motion_limit': 5e-6}


def watched(*, card=LIMITS, **config):
    """A controller whose card knows what is unforeseen."""
    return make_controller(CartModel(cart_card(**card)), **config)


def drive(controller, plant, ticks, *, see=lambda frame: frame, passed=1.0):
    """The ticks, and whether they were safe."""
    record = []
    for _ in range(ticks):
        frame = see(plant.frame())
        tick = controller.step(frame, now_sec=plant.now_sec, timing=AT_ONCE, passed=passed)
        controller.prepare()
        plant.step(passed * tick.action)
        record.append(tick)
    return record


def statuses(record):
    return [tick.status for tick in record]


class Frozen:
    """Gives the first picture again and again, with fresh stamps."""

    images = None

    def __call__(self, frame):
        self.images = self.images or frame.images
        return replace(frame, images=self.images)


class Moved:
    """A camera whose picture has nothing to do with what the robot does."""

    def __init__(self):
        self.random = np.random.default_rng(5)

    def __call__(self, frame):
        place = self.random.uniform(0.2, 0.8, 2)
        return replace(frame, images={tiny_world.CAMERA: tiny_world.picture(place)})


@pytest.mark.parametrize(
    ('fault', 'setting', 'stop'),
    [
        (Frozen, 'frozen_frames', TickStatus.FROZEN_IMAGE),
        (Moved, 'unforeseen_frames', TickStatus.UNFORESEEN),
    ],
)
def test_a_camera_that_goes_wrong_stops_the_robot_until_there_is_another_goal(
    fault, setting, stop
):
    others = {'frozen_frames': 0, 'unforeseen_frames': 0}
    controller, plant = watched(**{**others, setting: 4}), Cart()
    assert set(statuses(drive(controller, plant, 5))) == {TickStatus.SOLVED}
    see = fault()
    record = drive(controller, plant, 12, see=see)
    first = statuses(record).index(stop)
    # The first picture of a camera that freezes is still a true one.
    assert first == (4 if fault is Frozen else 3)
    assert set(statuses(record[first:])) == {stop}
    assert not any(tick.action.any() for tick in record[first:])
    assert record[first].detail
    # Neither that all is well again nor that the goal is over lets it go.
    assert set(statuses(drive(controller, plant, 3))) == {stop}
    goal = controller.goal
    controller.set_goal(None)
    assert set(statuses(drive(controller, plant, 3))) == {stop}
    controller.set_goal(goal)
    assert set(statuses(drive(controller, plant, 12))) == {TickStatus.SOLVED}
    controller.config = replace(controller.config, **others)
    assert set(statuses(drive(controller, plant, 12, see=see))) == {TickStatus.SOLVED}


@pytest.mark.parametrize('fault', [Frozen, Moved])
def test_what_the_card_does_not_know_is_not_watched(fault):
    controller, plant = watched(card={}), Cart()
    assert set(statuses(drive(controller, plant, 20, see=fault()))) == {TickStatus.SOLVED}


def test_a_limit_that_is_set_takes_the_place_of_the_cards():
    controller, plant = watched(card={}, innovation_limit=5e-5), Cart()
    drive(controller, plant, 3)
    assert TickStatus.UNFORESEEN in statuses(drive(controller, plant, 20, see=Moved()))
    controller, plant = watched(innovation_limit=1e6), Cart()
    drive(controller, plant, 3)
    assert set(statuses(drive(controller, plant, 20, see=Moved()))) == {TickStatus.SOLVED}


def deaf(controller, plant, ticks):
    """Commands go out and reach nobody, which nobody has told the controller."""
    record = []
    for _ in range(ticks):
        record.append(controller.step(plant.frame(), now_sec=plant.now_sec, timing=AT_ONCE))
        controller.prepare()
        plant.step(np.zeros(2))
    return record


@pytest.mark.parametrize(
    ('setting', 'stop'),
    [('frozen_frames', TickStatus.FROZEN_IMAGE), ('unforeseen_frames', TickStatus.UNFORESEEN)],
)
def test_a_robot_that_hears_its_first_commands_late_is_no_fault_of_the_camera(setting, stop):
    others = {'frozen_frames': 0, 'unforeseen_frames': 0}
    wait = 5 * PATIENCE - 1  # the picture after it is still the same
    controller, plant = watched(**{**others, setting: 5}), Cart()
    assert set(statuses(deaf(controller, plant, wait))) == {TickStatus.SOLVED}
    assert set(statuses(drive(controller, plant, 3))) == {TickStatus.SOLVED}
    # It has followed, also for the goals to come: now five frames are enough.
    controller.set_goal(controller.goal.clone())
    assert statuses(deaf(controller, plant, 7))[6] is stop
    # But one that never follows is not driven for ever.
    controller, plant = watched(**{**others, setting: 5}), Cart()
    assert statuses(deaf(controller, plant, wait + 2))[-1] is stop


def test_what_is_seen_and_cannot_be_a_robot_that_stands_needs_no_patience():
    controller, plant = watched(frozen_frames=0, unforeseen_frames=5), Cart()
    record = drive(controller, plant, 8, see=Moved())
    assert statuses(record).index(TickStatus.UNFORESEEN) <= 6


def test_after_a_gap_in_pictures_or_commands_the_robot_has_to_follow_anew():
    def gate_closes(controller, plant):
        drive(controller, plant, 2, passed=0.0)

    def images_stay_away(controller, plant):
        plant.now_sec += 2.0
        frame = replace(plant.frame(), stamp_sec=plant.now_sec - 2.0)
        tick = controller.step(frame, now_sec=plant.now_sec, timing=AT_ONCE)
        assert tick.status is TickStatus.STALE_IMAGE

    for gap in (gate_closes, images_stay_away):
        controller, plant = watched(frozen_frames=5, unforeseen_frames=5), Cart()
        drive(controller, plant, 3)
        gap(controller, plant)
        assert set(statuses(deaf(controller, plant, 5 * PATIENCE))) == {TickStatus.SOLVED}


def test_pictures_that_stay_the_same_are_frozen_only_if_they_should_have_changed_by_a_lot():
    card = {'motion_limit': 2.5e-3}  # twice that is 5e-3, full speed is 7e-3
    for share, stops in ((1.0, True), (0.7, False)):
        controller, plant = watched(card=card, frozen_frames=3), Cart()
        controller.limits = replace(
            controller.limits, low=share * controller.limits.low,
            high=share * controller.limits.high,
        )  # fmt: skip
        record = drive(controller, plant, 6) + drive(controller, plant, 5, see=Frozen())
        assert (TickStatus.FROZEN_IMAGE in statuses(record)) == stops


def test_a_robot_that_stands_at_its_goal_may_look_the_same_for_ever():
    controller, plant = watched(frozen_frames=2, unforeseen_frames=2), Cart()
    record = drive(controller, plant, 150)
    assert set(statuses(record)) == {TickStatus.SOLVED}
    assert np.linalg.norm(plant.place - (0.7, 0.6)) < 0.01


def test_kicks_are_one_frame_each_and_stop_nothing():
    controller, plant = watched(unforeseen_frames=2), Cart()
    innovations = []
    for _ in range(12):
        innovations += [tick.innovation for tick in drive(controller, plant, 3)]
        plant.place += (0.02, -0.03)
    large = [value for value in innovations if value and value > LIMITS['innovation_limit']]
    assert len(large) == 11


@pytest.mark.parametrize('passed', [0.0, 0.3])
def test_nothing_is_judged_by_commands_that_the_robot_does_not_get(passed):
    controller, plant = watched(frozen_frames=2, unforeseen_frames=2), Cart()
    record = drive(controller, plant, 20, passed=passed)
    assert set(statuses(record)) == {TickStatus.SOLVED}
    assert all(tick.action.any() and tick.innovation is None for tick in record)
    # What it got is what is remembered: the next frame finds it where it was expected.
    drive(controller, plant, 1)
    assert drive(controller, plant, 1)[0].innovation < 1e-8


def test_the_rate_limit_counts_from_the_command_that_was_sent_or_from_none():
    changes = {}
    for passed in (1.0, 0.3, 0.0):
        controller = watched()
        controller.limits = tiny_world.limits([0.05, 0.05])
        sizes = [abs(tick.action[0]) for tick in drive(controller, Cart(), 4, passed=passed)]
        changes[passed] = sizes
    assert changes[1.0] == pytest.approx([0.05, 0.1, 0.15, 0.2], abs=1e-6)
    assert changes[0.3] == pytest.approx(changes[1.0], abs=1e-6)
    assert changes[0.0] == pytest.approx([0.05] * 4, abs=1e-6)


class Failing:
    """A planner that can be told to fail."""

    name = 'failing'

    def __init__(self, planner):
        self.planner, self.error, self.actions = planner, None, None

    @property
    def horizon(self):
        return self.planner.horizon

    def solve(self, problem, warm_start, deadline):
        if self.error is not None:
            raise self.error
        plan = self.planner.solve(problem, warm_start, deadline)
        return plan if self.actions is None else replace(plan, actions=self.actions(plan))


def with_failing(**config):
    controller = watched(**{'schedule': 'after_frame', **config})
    controller.planner = Failing(controller.planner)
    return controller, controller.planner, Cart()


def dropped(record):
    return [tick.dropped for tick in record if tick.dropped is not None]


def test_another_goal_ends_the_warm_start():
    controller, _, plant = with_failing()
    assert dropped(drive(controller, plant, 3)) == []
    controller.set_goal(controller.goal.clone())
    record = drive(controller, plant, 3)
    assert dropped(record) == [Drop.GOAL]
    assert [tick.shift_steps for tick in record] == [COLD, 1, 1]
    controller.set_goal(None)
    assert dropped(drive(controller, plant, 3)) == [Drop.GOAL]
    controller.set_goal(None)
    assert dropped(drive(controller, plant, 3)) == []


def test_a_robot_that_is_found_elsewhere_ends_the_warm_start_unless_that_is_switched_off():
    for factor, expected in ((100.0, [Drop.INNOVATION]), (0.0, [])):
        controller, _, plant = with_failing(drop_innovation=factor)
        drive(controller, plant, 3)
        plant.place += (0.02, 0.0)  # 2e-3, forty times what is large
        assert dropped(drive(controller, plant, 2)) == []
        plant.place += (0.2, 0.1)  # 0.3
        record = drive(controller, plant, 3)
        assert dropped(record) == expected
        assert record[0].status is TickStatus.SOLVED
        assert (record[0].shift_steps == COLD) == bool(expected)


def test_values_that_are_not_finite_end_the_warm_start_at_once_and_the_plan_goes_on():
    controller, planner, plant = with_failing(drop_failures=3)
    drive(controller, plant, 3)
    planner.error = NotFiniteError('the cost is not finite')
    record = drive(controller, plant, 2)
    assert statuses(record) == [TickStatus.PREVIOUS_PLAN] * 2
    assert dropped(record) == [Drop.NOT_FINITE]
    planner.error = None
    record = drive(controller, plant, 2)
    assert [tick.shift_steps for tick in record] == [COLD, 1]


def test_failures_in_a_row_end_plan_and_warm_start_and_one_in_between_starts_the_count_anew():
    controller, planner, plant = with_failing(drop_failures=3)
    drive(controller, plant, 3)
    for _ in range(2):
        planner.error = SolveError('no way was found')
        record = drive(controller, plant, 2)
        assert statuses(record) == [TickStatus.PREVIOUS_PLAN] * 2
        planner.error = None
        # What failed for another reason than its numbers has not spoilt the start.
        record += drive(controller, plant, 1)
        assert record[-1].shift_steps == 3
        assert dropped(record) == []
    planner.error = SolveError('no way was found')
    record = drive(controller, plant, 4)
    assert statuses(record) == 2 * [TickStatus.PREVIOUS_PLAN] + 2 * [TickStatus.SOLVER_FAILED]
    assert dropped(record) == [Drop.FAILURES]
    assert not record[-1].action.any()
    planner.error = None
    assert drive(controller, plant, 1)[0].shift_steps == COLD


def test_in_schedule_ahead_a_planner_that_always_fails_is_given_up_as_well():
    controller, planner, plant = with_failing(
        schedule='ahead', drop_failures=3, deadline_sec=10.0
    )
    drive(controller, plant, 3)
    planner.error = SolveError('no way was found')
    record = drive(controller, plant, 8)
    # Every other tick goes on with the plan that is there; that is no solve that has succeeded.
    assert dropped(record) == [Drop.FAILURES]
    assert record[-1].status is TickStatus.SOLVER_FAILED and not record[-1].action.any()


def test_a_plan_of_one_step_leaves_nothing_and_that_is_no_loss():
    for block in (1, 3):
        controller, plant = make_controller(CartModel(cart_card(block))), Cart()
        controller.planner = registry.make('grasp', controller.model, horizon=1, samples=0)
        assert dropped(drive(controller, plant, 9)) == []


def test_a_plan_that_is_at_its_end_is_no_solver_that_failed():
    controller, plant = watched(image_timeout_sec=10.0), Cart()
    drive(controller, plant, 2)
    frame = plant.frame()
    ticks = [
        controller.step(frame, now_sec=plant.now_sec + 0.1 * n, timing=AT_ONCE) for n in range(12)
    ]
    assert statuses(ticks)[1:] == 7 * [TickStatus.PREVIOUS_PLAN] + 4 * [TickStatus.STALE_IMAGE]
    assert not ticks[-1].action.any() and 'no new frame' in ticks[-1].detail


def test_a_picture_that_nothing_can_be_made_of_does_not_spoil_those_that_follow():
    class Blinded(CartModel):
        def encode(self, observation):
            latent = super().encode(observation)
            spoilt = (observation.images[tiny_world.CAMERA] == 77).all(dim=-1).flatten(1).any()
            return latent * torch.nan if spoilt else latent

    controller, plant = make_controller(Blinded(cart_card(frames=2))), Cart()
    record = drive(controller, plant, 3)
    covered = np.full((2, 4, 3), 77, np.uint8)
    see = lambda frame: replace(frame, images={tiny_world.CAMERA: covered})  # noqa: E731
    record += drive(controller, plant, 1, see=see) + drive(controller, plant, 2)
    expected = [TickStatus.SOLVED] * 6
    expected[3] = TickStatus.PREVIOUS_PLAN
    assert statuses(record) == expected


def test_frames_that_are_lost_for_longer_than_the_plan_end_the_warm_start():
    controller, _, plant = with_failing()
    drive(controller, plant, 3)
    plant.step(None, steps=30)
    record = drive(controller, plant, 2)
    assert dropped(record) == [Drop.EXPIRED]
    assert [tick.shift_steps for tick in record] == [COLD, 1]


def test_a_reset_ends_the_warm_start():
    controller, _, plant = with_failing()
    drive(controller, plant, 3)
    controller.reset()
    assert dropped(drive(controller, plant, 3)) == [Drop.RESET]
    controller.set_goal(None)
    controller.reset()
    assert dropped(drive(controller, plant, 3)) == []


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
def test_no_command_is_ever_not_finite(bad):
    controller, planner, plant = with_failing()
    drive(controller, plant, 2)
    planner.actions = lambda plan: torch.full_like(plan.actions, bad)
    record = drive(controller, plant, 2)
    assert statuses(record) == [TickStatus.SOLVER_FAILED] * 2
    assert not any(tick.action.any() for tick in record)
    assert 'finite' in record[0].detail and dropped(record)[0] is Drop.NOT_FINITE
    planner.actions = None
    assert drive(controller, plant, 1)[0].status is TickStatus.SOLVED


@settings(deadline=None, max_examples=50)
@given(
    plans=st.lists(
        st.lists(st.floats(-5, 5, width=32), min_size=8, max_size=8), min_size=1, max_size=6
    ),
    change=st.one_of(st.none(), st.floats(0.01, 0.5)),
    lost=st.lists(st.integers(1, 5), min_size=1, max_size=6),
)
def test_whatever_a_planner_answers_and_whatever_is_lost_commands_keep_their_limits(
    plans, change, lost
):
    controller, planner, plant = with_failing(unforeseen_frames=0)
    controller.limits = limits = tiny_world.limits(None if change is None else [change] * 2)
    before = np.zeros(2)
    for number, steps in enumerate(lost):
        wild = torch.tensor(plans[number % len(plans)]).reshape(8, 1, 1).expand(8, 1, 2)
        planner.actions = lambda plan, wild=wild: wild.clone()
        planner.error = SolveError('no') if number % 3 == 2 else None
        tick = controller.step(plant.frame(), now_sec=plant.now_sec, timing=AT_ONCE)
        low, high = limits.bounds
        assert (tick.action >= low).all() and (tick.action <= high).all()
        if change is not None and tick.status.drives:
            assert np.abs(tick.action - before).max() <= change + 1e-6
        before = tick.action
        plant.step(tick.action, steps)


def plan_of(actions, states):
    return Plan(
        actions=actions, rollout=states, cost=0.0, iterate_actions=actions.flip(0),
        iterate_states=states, iterations=1, stopped='iterations', source='solve',
        branches=Branches(
            actions[None], states[None], torch.zeros(1), 1.0, torch.zeros_like(actions[:1])
        ),
    )  # fmt: skip


@settings(deadline=None)
@given(data=st.data(), block=st.integers(1, 3), horizon=st.integers(1, 6))
def test_a_shifted_plan_is_the_plan_from_there_on_for_any_steps_and_any_new_horizon(
    data, block, horizon
):
    elapsed = data.draw(st.integers(0, horizon * block + 2))
    following = data.draw(st.integers(1, 9))
    change = 0.125
    walk = data.draw(st.lists(st.floats(-change, change, width=32), min_size=horizon * block,
                              max_size=horizon * block))
    actions = torch.tensor(walk).cumsum(0).clamp(-0.3, 0.3).reshape(horizon, block, 1)
    states = torch.tensor(
        data.draw(st.lists(st.floats(-1, 1, width=32), min_size=horizon, max_size=horizon))
    ).reshape(-1, 1)
    goal = torch.tensor([1.0])
    warm = shift(plan_of(actions, states), elapsed_steps=elapsed, horizon=following, goal=goal)
    assert (warm is None) == (elapsed >= horizon * block)
    if warm is None:
        return
    assert warm.actions.shape == warm.incumbent.shape == (following, block, 1)
    assert warm.states.shape == (following, 1)
    flat, moved = actions.flatten(), warm.incumbent.flatten()
    kept = min(len(flat) - elapsed, len(moved))
    assert torch.equal(moved[:kept], flat[elapsed : elapsed + kept])
    assert (moved[kept:] == flat[-1]).all()
    # It keeps every limit that the plan kept.
    assert len(moved) < 2 or moved.diff().abs().max() <= change + 1e-6
    assert moved.abs().max() <= 0.3 + 1e-6
    # States lie between those that were known at the time, and are the goal beyond them.
    known = torch.cat((states.flatten(), goal))
    for step, state in enumerate(warm.states.flatten()):
        whole, part = divmod(elapsed + step * block, block)
        pair = known[[min(whole, horizon), min(whole + bool(part), horizon)]]
        assert pair.min() - 1e-6 <= state <= pair.max() + 1e-6
        if not part:
            assert state == pair[0]
