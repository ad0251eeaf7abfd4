# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plans begin where their first action takes effect, with the commands that were really sent."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_world
import torch
from cart_world import PERIOD_SEC, Cart, CartModel, cart_card, make_controller
from hypothesis import given, settings
from hypothesis import strategies as st

from grasp_ros.control.history import History
from grasp_ros.control.latency import look_ahead
from grasp_ros.control.tick import COLD, TickStatus
from grasp_ros.control.timeline import Timeline, Timing
from grasp_ros.errors import SolveError
from grasp_ros.planners import registry
from grasp_ros.planners.base import Effort

CPU = torch.device('cpu')


def drive(controller, plant, ticks):
    """Tick without taking time; the latency handed in is the plant's."""
    record = []
    for _ in range(ticks):
        timing = Timing(plant.delay_sec)
        tick = controller.step(plant.frame(), now_sec=plant.now_sec, timing=timing)
        controller.prepare()
        record.append(tick)
        plant.step(tick.action)
    return record


@pytest.mark.parametrize('schedule', ['after_frame', 'ahead'])
@pytest.mark.parametrize(('block', 'history'), [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize('delay', [0.0, 0.5, 1.75, 3.0])
def test_what_is_foreseen_is_what_is_seen_whatever_the_delay(schedule, block, history, delay):
    plant = Cart(delay * PERIOD_SEC)
    controller = make_controller(
        CartModel(cart_card(block, history)), schedule=schedule,
        actuator_delay_sec=plant.delay_sec,
    )  # fmt: skip
    record = drive(controller, plant, 60)
    # All of it, from the first frame after the first plan on: at rest, on the way, at the goal.
    innovations = [tick.innovation for tick in record[block::block]]
    assert max(innovations) < 1e-8
    assert np.linalg.norm(plant.place - (0.7, 0.6)) < 0.01
    assert all(tick.latency_sec == pytest.approx(plant.delay_sec) for tick in record)
    shifts = {tick.shift_steps for tick in record if tick.status is TickStatus.SOLVED}
    assert shifts == {COLD, block}
    if schedule == 'ahead':
        assert all(tick.prepare_sec > 0 for tick in record[block::block])


def test_without_compensation_the_robot_swings_about_its_goal_and_the_model_is_surprised():
    finals = {}
    for compensates in (True, False):
        plant = Cart(0.5)
        controller = make_controller(CartModel(cart_card(1)), actuator_delay_sec=0.5)
        controller.config = replace(controller.config, latency_compensation=compensates)
        record = drive(controller, plant, 60)
        places = []
        for _ in range(15):
            drive(controller, plant, 1)
            places.append(np.linalg.norm(plant.place - (0.7, 0.6)))
        finals[compensates] = max(places), max(tick.innovation for tick in record[1:])
    assert finals[True][0] < 0.01 < 0.05 < finals[False][0]
    assert finals[True][1] < 1e-8 < 1e-4 < finals[False][1]
    assert controller.step(plant.frame(), now_sec=plant.now_sec).latency_sec == 0.0


@pytest.mark.parametrize('schedule', ['after_frame', 'ahead'])
def test_history_blocks_and_tokens_under_a_delay_of_whole_blocks(schedule):
    """The plant that acts in blocks, with memory: what it foresees is exact, so is the drive."""
    model = tiny_world.TinyModel(tiny_world.CARD)
    controller = make_controller(model, schedule=schedule, actuator_delay_sec=4 * PERIOD_SEC)
    plant, waiting = tiny_world.Plant((0.2, 0.3)), [np.zeros(2)] * 4
    innovations = []
    for _ in range(120):
        tick = controller.step(
            plant.frame(), now_sec=plant.stamp_sec, timing=Timing(4 * PERIOD_SEC)
        )
        controller.prepare()
        waiting.append(tick.action)
        plant.step(waiting.pop(0))
        innovations.append(tick.innovation)
    assert np.linalg.norm(plant.place - (0.7, 0.6)) < 0.03
    # Sixteen bits of a picture, rolled over two model steps of a model with momentum.
    assert max(value for value in innovations if value is not None) < 1e-6


def test_the_work_after_the_frame_grows_with_the_lead_and_not_with_the_horizon():
    class Counting(CartModel):
        steps = 0

        def predict(self, context, actions):
            self.steps += 1
            return super().predict(context, actions)

    work = {}
    for horizon in (5, 50):
        for lead in (0, 3):
            model = Counting(cart_card(1))
            controller = make_controller(model, schedule='ahead')
            controller.planner = registry.make('grasp', model, horizon=horizon, samples=0)
            plant = Cart(lead * PERIOD_SEC)
            drive(controller, plant, 3)
            model.steps = 0
            tick = controller.step(
                plant.frame(), now_sec=plant.now_sec, timing=Timing(plant.delay_sec)
            )
            assert tick.prepare_sec > 0
            work[horizon, lead] = model.steps
    assert work[5, 3] == work[50, 3] == work[5, 0] + 3 == work[50, 0] + 3


@pytest.mark.parametrize(('block', 'history'), [(1, 1), (2, 2)])
@pytest.mark.parametrize('every', [2, 3])
def test_what_is_prepared_meets_the_frames_of_a_camera_slower_than_the_control_rate(
    block, history, every
):
    plant = Cart(0.5 * PERIOD_SEC)
    controller = make_controller(
        CartModel(cart_card(block, history)), schedule='ahead', deadline_sec=10.0,
        actuator_delay_sec=plant.delay_sec, image_timeout_sec=2.0,
    )  # fmt: skip
    record = []
    for number in range(40 * block):
        if number % (every * block) == 0:
            frame = plant.frame()
        tick = controller.step(frame, now_sec=plant.now_sec, timing=Timing(plant.delay_sec))
        controller.prepare()
        record.append(tick)
        plant.step(tick.action)
    frames = record[:: every * block]
    assert {tick.status for tick in frames} == {TickStatus.SOLVED}
    assert all(tick.prepare_sec > 0 for tick in frames[1:])
    assert {tick.status for tick in record} <= {TickStatus.SOLVED, TickStatus.PREVIOUS_PLAN}
    assert max(tick.innovation for tick in frames[1:]) < 1e-8
    assert np.linalg.norm(plant.place - (0.7, 0.6)) < 0.01


def test_what_was_prepared_within_a_block_is_renewed_when_nothing_of_it_holds_any_more():
    plant = Cart(0.0)
    controller = make_controller(CartModel(cart_card(3)), schedule='ahead')
    record = drive(controller, plant, 4)
    controller.limits = replace(controller.limits)
    record += drive(controller, plant, 3)
    assert [tick.prepare_sec > 0 for tick in record[::3]] == [False, True, True]


def test_a_frame_of_before_the_plan_does_not_upset_the_preparation():
    plant = Cart(0.0)
    controller = make_controller(CartModel(cart_card(1)), schedule='ahead')
    goal, solve = controller.goal, controller.planner.solve
    controller.set_goal(None)
    late = [replace(plant.frame(), stamp_sec=n * PERIOD_SEC) for n in range(3)]
    controller.step(late[0], now_sec=0.0)
    controller.set_goal(goal)  # it is solved for at step 2, from the frame that was seen
    assert controller.step(late[0], now_sec=0.2).status is TickStatus.SOLVED

    def fail(*arguments):
        raise SolveError('no way was found')

    controller.planner.solve = fail
    tick = controller.step(late[1], now_sec=0.21)
    assert tick.status is TickStatus.PREVIOUS_PLAN
    controller.planner.solve = solve
    controller.prepare()


def test_to_prepare_does_not_use_up_the_warm_start():
    plant = Cart(0.0)
    controller = make_controller(
        CartModel(cart_card(1)), schedule='ahead', image_timeout_sec=10.0
    )
    controller.step(plant.frame(), now_sec=0.0, timing=Timing(0.0))
    frame = plant.frame()
    for number in range(1, 8):  # of a plan of eight
        controller.step(frame, now_sec=number * PERIOD_SEC, timing=Timing(0.0))
        controller.prepare()
    late = replace(frame, stamp_sec=7 * PERIOD_SEC)
    tick = controller.step(late, now_sec=8 * PERIOD_SEC, timing=Timing(0.0))
    assert tick.status is TickStatus.SOLVED
    assert (tick.shift_steps, tick.dropped) == (7, None)


@pytest.mark.parametrize('passed', [0.3, 0.0])
def test_what_a_gate_does_not_pass_on_is_not_prepared_for(passed):
    plant = Cart(0.0)
    controller = make_controller(CartModel(cart_card(1)), schedule='ahead')
    for _ in range(4):
        tick = controller.step(
            plant.frame(), now_sec=plant.now_sec, timing=Timing(0.0), passed=passed
        )
        controller.prepare()
        plant.step(passed * tick.action)
        prepared = controller._prepared.problem
        np.testing.assert_allclose(prepared.context[-1], plant.place, atol=1e-4)
        told = tick.action if passed else np.zeros(2)
        np.testing.assert_allclose(prepared.previous_action, told, atol=1e-6)


def test_nothing_is_prepared_after_a_safe_command():
    plant = Cart(0.0)
    controller = make_controller(CartModel(cart_card(1)), schedule='ahead')
    drive(controller, plant, 3)
    tick = controller.step(plant.frame(), now_sec=plant.now_sec + 60.0)
    assert tick.status is TickStatus.STALE_IMAGE
    controller.planner.solve = None  # would raise
    controller.prepare()
    controller, plant = make_controller(CartModel(cart_card(1)), schedule='ahead'), Cart(0.0)
    controller.step(plant.frame(), now_sec=plant.now_sec)
    controller.clear_warm_start()
    controller.prepare()


def test_lost_frames_shift_the_warm_start_and_the_forecast_by_what_really_elapsed():
    plant = Cart(3 * PERIOD_SEC)
    controller = make_controller(CartModel(cart_card(1)), actuator_delay_sec=plant.delay_sec)
    drive(controller, plant, 10)
    plant.step(None, steps=4)  # the last command holds, nobody looks
    tick = controller.step(plant.frame(), now_sec=plant.now_sec, timing=Timing(plant.delay_sec))
    assert tick.shift_steps == 5
    # The plan went on on paper; what was sent is one command.
    ahead = look_ahead(controller.model, controller._history, step=14, lead=3.0)
    there = plant.place + 3 * PERIOD_SEC * plant.command
    np.testing.assert_allclose(ahead.context[-1], there, atol=1e-4)


def test_without_a_new_frame_the_plan_goes_on_by_what_really_elapsed():
    plant = Cart(2 * PERIOD_SEC)
    controller = make_controller(
        CartModel(cart_card(1)), actuator_delay_sec=plant.delay_sec, image_timeout_sec=1.0
    )
    plan, frame = drive(controller, plant, 5)[-1].plan, None
    for late in (1, 2, 4):  # the third tick was skipped
        frame = frame or replace(plant.frame(), stamp_sec=4 * PERIOD_SEC)
        tick = controller.step(
            frame, now_sec=(4 + late) * PERIOD_SEC, timing=Timing(plant.delay_sec)
        )
        assert tick.status is TickStatus.PREVIOUS_PLAN
        assert tick.plan_offset == late
        np.testing.assert_allclose(tick.action, plan.actions[late, 0].numpy(), atol=1e-6)


def test_a_command_that_is_withdrawn_was_never_in_force():
    plant = Cart(2 * PERIOD_SEC)
    controller = make_controller(CartModel(cart_card(1)), actuator_delay_sec=plant.delay_sec)
    for _ in range(8):
        tick = controller.step(
            plant.frame(), now_sec=plant.now_sec, timing=Timing(plant.delay_sec)
        )
        assert tick.action.any()
        tick = controller.withdraw(tick, TickStatus.STALE_IMAGE, 'too late')
        assert tick.status is TickStatus.STALE_IMAGE and not tick.action.any()
        plant.step(tick.action)
    ahead = look_ahead(controller.model, controller._history, step=7, lead=2.0)
    np.testing.assert_allclose(ahead.context[-1], (0.2, 0.3), atol=1e-4)
    assert all(tick.innovation is None for tick in drive(controller, plant, 1))


def test_frames_that_are_refused_for_too_long_stop_the_robot():
    plant = Cart(0.0)
    controller = make_controller(CartModel(cart_card(1)), image_timeout_sec=0.35)
    drive(controller, plant, 3)
    statuses = []
    for _ in range(5):
        bad = replace(plant.frame(), images={})
        tick = controller.step(bad, now_sec=plant.now_sec, timing=Timing(0.0))
        statuses.append(tick.status)
        plant.step(tick.action)
    assert statuses == 3 * [TickStatus.PREVIOUS_PLAN] + 2 * [TickStatus.STALE_IMAGE]
    assert not tick.action.any() and 'camera' in tick.detail
    assert drive(controller, plant, 1)[0].status is TickStatus.SOLVED


@settings(deadline=None)
@given(
    commands=st.lists(
        st.tuples(st.integers(0, 40), st.floats(-1, 1)), min_size=1, max_size=10,
        unique_by=lambda command: command[0],
    ),
    first=st.integers(0, 60), block=st.integers(1, 3), count=st.integers(1, 4),
)
def test_the_commands_in_force_cover_the_way_that_the_robot_goes(commands, first, block, count):
    history = History(cart_card(block), np.array([0.5, 0.0]))
    for quarter, value in sorted(commands):
        history.add_action(quarter / 4, np.array([value, 0.0]))
    steps = history.blocks(first / 4, count, CPU)[..., 0]
    assert steps.shape == (count, block)
    # Integrate on the quarters, where all commands begin.
    way = 0.0
    for quarter in range(first, first + 4 * count * block):
        begun = [value for at, value in sorted(commands) if at <= quarter]
        way += (begun[-1] if begun else 0.5) / 4
    assert float(steps.sum()) == pytest.approx(way, abs=1e-5)


def test_the_lead_follows_what_is_measured_but_not_every_flicker():
    timeline = Timeline(PERIOD_SEC)
    timeline.take_up(10.0, now_sec=10.01)

    def lead(age_sec, *durations, delay_sec=0.0):
        for duration_sec in durations:
            timeline.add_duration(duration_sec)
        timeline.expect(10.0 + age_sec, delay_sec=delay_sec)
        return timeline.lead

    assert lead(0.02) == 0.0  # a fifth of a step
    assert lead(0.02, 3.0) == 0.0  # nor does a stall that comes first
    timeline = Timeline(PERIOD_SEC)
    timeline.take_up(10.0, now_sec=10.01)
    assert lead(0.02, 0.01, 0.01, 0.01) == 0.25
    assert lead(0.035) == 0.25
    assert lead(0.02, 3.0) == 0.25  # one stall says nothing of the next tick
    assert lead(0.02, delay_sec=0.5) == 5.25
    assert lead(0.0) == 0.0
    timeline.count_on(10.21)  # two steps on, without a frame: those are not latency
    assert lead(0.21, delay_sec=0.1) == 1.25


@pytest.mark.parametrize('ratio', [0.8, 1.0, 1.1, 1.25, 4 / 3, 3.0])
def test_a_camera_of_another_rate_makes_the_steps_run_neither_fast_nor_slow(ratio):
    timeline, steps, newest = Timeline(PERIOD_SEC), [], None
    for tick in range(200):
        now_sec = 0.03 + tick * PERIOD_SEC
        frame = int(now_sec * ratio / PERIOD_SEC)
        if frame == newest:
            timeline.count_on(now_sec)
        else:
            timeline.take_up(frame * PERIOD_SEC / ratio, now_sec=now_sec)
        newest = frame
        steps.append(timeline.step)
    assert abs(steps[-1] - 199) <= 2
    if ratio >= 1:  # a plan that is prepared for the next step meets it
        assert steps == list(range(200))


def test_a_plan_that_is_prepared_is_worth_half_a_step_of_lead():
    for prepared, kept in ((False, 0.25), (True, 0.5)):
        for age_steps in (0.2, 0.24, 0.26, 0.4, 0.49, 0.51, 0.8):
            timeline = Timeline(PERIOD_SEC)
            timeline.take_up(10.0, now_sec=10.0)
            timeline.expect(10.0 + age_steps * PERIOD_SEC, delay_sec=0.0, prepared=prepared)
            assert (timeline.lead == 0.0) == (age_steps <= kept)


def test_a_plan_that_waits_for_the_end_of_its_block_is_worth_as_much():
    plant, ages = Cart(0.0), [0.0, 0.4, 0.0, 0.4]  # of the frames, in periods
    controller = make_controller(CartModel(cart_card(4)), schedule='ahead')
    controller._clock = lambda: 0.0
    record = []
    for number in range(20):
        now_sec = plant.now_sec + ages[number % 4] * PERIOD_SEC
        tick = controller.step(plant.frame(), now_sec=now_sec)
        controller.prepare()
        plant.step(tick.action)
        record.append(tick)
    assert [tick.status is TickStatus.SOLVED for tick in record] == 5 * [True, False, False, False]
    assert {tick.latency_sec for tick in record} == {0.0}


def test_what_feedback_prepares_is_within_the_time_for_the_preparation():
    now_sec, left = [0.0], []

    class Slow(CartModel):
        def predict(self, context, actions):
            now_sec[0] += 0.01
            return super().predict(context, actions)

    controller, plant = make_controller(Slow(cart_card(1)), schedule='ahead'), Cart()
    controller._clock = lambda: now_sec[0]
    solve = controller.planner.solve

    def watched(problem, warm_start, deadline):
        left.append(deadline.left_sec)
        return solve(problem, warm_start, deadline)

    for _ in range(3):
        tick = controller.step(plant.frame(), now_sec=plant.now_sec, timing=Timing(0.0))
        controller.planner.solve = watched
        controller.prepare(budget_sec=1.0)
        controller.planner.solve = solve
        plant.step(tick.action)
    # The step that is foreseen takes one prediction, and another what the feedback needs.
    assert left == pytest.approx([0.99, 0.99, 0.98])  # once is no reason to expect it


def test_a_run_with_real_durations_is_replayed_bit_by_bit():
    model = CartModel(cart_card(2))
    readings = iter(np.cumsum(np.random.default_rng(3).exponential(0.002, 100_000)))

    def run(clock, timings):
        controller = make_controller(
            model, schedule='ahead', actuator_delay_sec=0.13, deadline_sec=0.04
        )
        controller.planner = registry.make(
            'grasp', model, horizon=6, iterations=50, samples=8, noise_scale=0.02, sync_every=2
        )
        controller._clock = clock
        plant, record = Cart(0.13), []
        for index in range(40):
            timing, effort = (None, None) if timings is None else timings[index]
            age_sec = 0.02 if index < 20 else 0.08
            tick = controller.step(plant.frame(), now_sec=plant.now_sec + age_sec, timing=timing)
            if timings is None or effort:
                controller.prepare(budget_sec=0.05, effort=effort)
            record.append(tick)
            plant.step(tick.action)
        return record

    first = run(lambda: float(next(readings)), None)
    assert len({tick.iterations for tick in first}) > 4
    assert len({tick.latency_sec for tick in first}) > 1
    timings = []
    for tick, later in zip(first, [*first[2:], None, None]):
        effort = Effort(tick.iterations, tick.syncs) if tick.iterations else None
        timing = Timing(tick.latency_sec, tick.encode_sec + tick.solve_sec, effort)
        prepared = later is not None and later.prepare_sec > 0
        timings.append((timing, Effort(later.iterations, later.syncs) if prepared else None))
    again = run(lambda: 0.0, timings)
    for before, after in zip(first, again):
        assert np.array_equal(before.action, after.action)
        assert (before.shift_steps, before.latency_sec) == (after.shift_steps, after.latency_sec)
