# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The controller on a model with history, action blocks and tokens, in both schedules."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import tiny_world
import torch

from grasp_ros.control.controller import COLD, Controller, ControllerConfig, TickStatus
from grasp_ros.errors import ObservationError, SolveError
from grasp_ros.planners import registry

PERIOD_SEC = tiny_world.CARD.control_period_sec


def make_controller(
    planner='grasp', *, config=None, card=tiny_world.CARD, **planner_settings
) -> Controller:
    model = tiny_world.TinyModel(card)
    suited = tiny_world.GRASP if planner == 'grasp' else {}
    planner_settings = {'horizon': 10, **suited, **planner_settings}
    controller = Controller(
        model=model,
        planner=registry.make(planner, model, **planner_settings),
        limits=tiny_world.limits(),
        config=config,
        clock=itertools.count(0.0, 1e-6).__next__,  # the plant stands still meanwhile
    )
    controller.set_goal(controller.encode_goal(tiny_world.Plant((0.7, 0.6)).frame()))
    return controller


def drive(controller, plant, ticks):
    record = []
    for _ in range(ticks):
        tick = controller.step(plant.frame(), now_sec=plant.stamp_sec)
        record.append(tick)
        plant.step(tick.action)
    return record


@pytest.mark.parametrize('planner', ['grasp', 'cem'])
@pytest.mark.parametrize('warm_start', ['full', 'actions', 'none'])
def test_history_blocks_and_tokens_go_through_the_whole_loop(planner, warm_start):
    controller = make_controller(planner, config=ControllerConfig(warm_start=warm_start))
    plant = tiny_world.Plant((0.2, 0.3))
    record = drive(controller, plant, 120)
    assert np.linalg.norm(plant.place - (0.7, 0.6)) < 0.03
    assert record[-1].goal_distance < controller.model.card.goal_tolerance * 4
    statuses = [tick.status for tick in record]
    assert statuses[0::2] == [TickStatus.SOLVED] * 60
    assert statuses[1::2] == [TickStatus.IN_BLOCK] * 60
    shifts = {tick.shift_steps for tick in record[2::2]}
    assert shifts == ({COLD} if warm_start == 'none' else {2})
    # The model is exact, so what it foresaw is what was seen, up to the picture's 16 bits.
    assert max(tick.innovation for tick in record if tick.innovation is not None) < 1e-6


@pytest.mark.parametrize('gain', [(1.0,), (0.25,), (1.0, 0.25)])
def test_of_what_was_not_foreseen_the_share_of_the_card_is_believed(gain):
    controller = make_controller(card=replace(tiny_world.CARD, observer_gain=gain))
    plant = tiny_world.Plant((0.2, 0.3))
    foreseen = drive(controller, plant, 2)[0].plan.rollout[0]
    plant.place = plant.place + (0.05, -0.03)  # a push that nobody foresaw
    tick = controller.step(plant.frame(), now_sec=plant.stamp_sec)
    place = torch.tensor(plant.place, dtype=torch.float32)
    seen = torch.stack((place, torch.stack((-place[1], place[0]))))
    believed = foreseen + torch.tensor(gain) * (seen - foreseen)
    model = controller.model
    for distance, latent, other in (
        (tick.innovation, seen, foreseen), (tick.goal_distance, believed, controller.goal)
    ):
        assert distance == pytest.approx(float(model.cost(latent[None], other)), rel=1e-2)


def test_the_commands_of_a_block_are_sent_in_order():
    controller = make_controller()
    first, second = drive(controller, tiny_world.Plant((0.2, 0.3)), 2)
    np.testing.assert_allclose(first.action, first.plan.actions[0, 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(second.action, first.plan.actions[0, 1].numpy(), atol=1e-6)
    assert second.plan is first.plan
    assert second.plan_offset == 1


def test_within_a_block_but_beyond_the_end_of_the_plan_the_robot_stands():
    controller = make_controller(horizon=1)
    plant = tiny_world.Plant((0.2, 0.3))
    drive(controller, plant, 1)
    controller._course.begins -= 5.0  # as after a long latency
    tick = controller.step(plant.frame(), now_sec=plant.stamp_sec)
    assert not tick.status.drives and not tick.action.any()


def test_commands_are_forgotten_while_no_frame_comes():
    controller = make_controller(config=ControllerConfig(image_timeout_sec=0.1))
    plant = tiny_world.Plant((0.2, 0.3))
    drive(controller, plant, 2)
    frame = plant.frame()
    for n in range(3000):
        controller.step(frame, now_sec=plant.stamp_sec + n * PERIOD_SEC)
    assert len(controller._history._actions) < 1100


def test_skipped_frames_shift_the_warm_start_by_what_really_elapsed():
    controller = make_controller()
    plant = tiny_world.Plant((0.2, 0.3))
    drive(controller, plant, 4)
    frame = replace(plant.frame(), stamp_sec=plant.stamp_sec + 3 * PERIOD_SEC)
    tick = controller.step(frame, now_sec=frame.stamp_sec)
    assert tick.status is TickStatus.SOLVED
    assert tick.shift_steps == 2 + 3
    assert len({tick.action.shape, (2,)}) == 1


def test_the_plan_goes_on_without_a_new_frame_until_the_image_is_stale():
    controller = make_controller(config=ControllerConfig(image_timeout_sec=0.45))
    plant = tiny_world.Plant((0.2, 0.3))
    record = drive(controller, plant, 3)
    plan, frame = record[-1].plan, replace(plant.frame(), stamp_sec=record and 2 * PERIOD_SEC)
    for late in range(1, 5):
        tick = controller.step(frame, now_sec=frame.stamp_sec + late * PERIOD_SEC)
        assert tick.status is TickStatus.PREVIOUS_PLAN
        assert tick.plan_offset == late
        expected = plan.actions.flatten(0, 1)[late].numpy()
        np.testing.assert_allclose(tick.action, expected, atol=1e-6)
    tick = controller.step(frame, now_sec=frame.stamp_sec + 0.5)
    assert tick.status is TickStatus.STALE_IMAGE
    assert not tick.action.any()


def test_no_image_and_no_goal_give_the_safe_command_and_a_status():
    controller = make_controller()
    tick = controller.step(None, now_sec=1.0)
    assert tick.status is TickStatus.NO_IMAGE
    assert not tick.action.any()
    controller.set_goal(None)
    tick = controller.step(tiny_world.Plant((0.2, 0.3)).frame(), now_sec=0.0)
    assert tick.status is TickStatus.NO_GOAL
    assert not tick.action.any()
    assert tick.plan is None


class FailingPlanner:
    """Solves like the planner it holds until told to fail."""

    name = 'failing'

    def __init__(self, planner) -> None:
        self.planner = planner
        self.horizon = planner.horizon
        self.failing = False

    def solve(self, problem, warm_start, deadline):
        if self.failing:
            raise SolveError('the cost is not finite')
        return self.planner.solve(problem, warm_start, deadline)


def test_a_failed_solve_goes_on_with_the_plan_then_stops_and_recovers_cold():
    controller = make_controller()
    planner = FailingPlanner(controller.planner)
    controller.planner = planner
    plant = tiny_world.Plant((0.2, 0.3))
    plan = drive(controller, plant, 2)[0].plan
    planner.failing = True
    (tick,) = drive(controller, plant, 1)
    assert tick.status is TickStatus.PREVIOUS_PLAN
    assert 'finite' in tick.detail
    np.testing.assert_allclose(tick.action, plan.actions[1, 0].numpy(), atol=1e-6)
    (tick,) = drive(controller, plant, 1)
    assert tick.status is TickStatus.SOLVER_FAILED
    assert not tick.action.any()
    planner.failing = False
    (tick,) = drive(controller, plant, 1)
    assert tick.status is TickStatus.SOLVED
    assert tick.shift_steps == COLD


def test_a_frame_that_does_not_fit_is_not_solved_from():
    controller = make_controller()
    plant = tiny_world.Plant((0.2, 0.3))
    drive(controller, plant, 2)
    wrong = replace(plant.frame(), images={tiny_world.CAMERA: np.zeros((3, 4, 3), np.uint8)})
    tick = controller.step(wrong, now_sec=plant.stamp_sec)
    assert tick.status is TickStatus.PREVIOUS_PLAN
    assert tick.detail
    plant.step(tick.action)
    missing = replace(plant.frame(), proprioception=None)
    assert 'proprioception' in controller.step(missing, now_sec=plant.stamp_sec).detail
    plant.step(np.zeros(2))
    (tick,) = drive(controller, plant, 1)
    assert tick.status is TickStatus.SOLVED


def test_a_goal_that_does_not_fit_is_refused_and_the_old_one_stays():
    controller = make_controller()
    goal = controller.goal
    with pytest.raises(ObservationError, match='wrist'):
        controller.encode_goal(replace(tiny_world.Plant((0.5, 0.5)).frame(), images={}))
    assert controller.goal is goal


def test_a_new_goal_drops_the_plan_of_the_old_one():
    controller = make_controller()
    plant = tiny_world.Plant((0.5, 0.5))
    drive(controller, plant, 5)
    controller.set_goal(controller.encode_goal(tiny_world.Plant((0.3, 0.4)).frame()))
    (tick,) = drive(controller, plant, 1)
    assert tick.status is TickStatus.SOLVED
    assert tick.shift_steps == COLD
    drive(controller, plant, 80)
    assert np.linalg.norm(plant.place - (0.3, 0.4)) < 0.03


def test_a_new_horizon_reshapes_the_warm_start_and_keeps_it():
    controller = make_controller()
    plant = tiny_world.Plant((0.2, 0.3))
    drive(controller, plant, 2)
    controller.planner = registry.make('grasp', controller.model, horizon=17)
    (tick,) = drive(controller, plant, 1)
    assert tick.plan.actions.shape[0] == 17
    assert tick.shift_steps == 2
    assert tick.action.any()


def test_two_runs_with_one_seed_send_the_same_commands():
    runs = []
    for _ in range(2):
        controller = make_controller(noise_scale=0.05, restarts=3, seed=4)
        record = drive(controller, tiny_world.Plant((0.2, 0.3)), 20)
        runs.append(np.stack([tick.action for tick in record]))
    assert np.array_equal(runs[0], runs[1])


def test_a_missed_deadline_is_reported():
    readings = iter(np.arange(0, 1e6, 0.02))
    model = tiny_world.TinyModel(tiny_world.CARD)
    controller = Controller(
        model=model,
        planner=registry.make('grasp', model, horizon=4, iterations=50),
        limits=tiny_world.limits(),
        config=ControllerConfig(deadline_sec=0.05),
        clock=lambda: float(next(readings)),
    )
    controller.set_goal(controller.encode_goal(tiny_world.Plant((0.7, 0.6)).frame()))
    tick = controller.step(tiny_world.Plant((0.2, 0.3)).frame(), now_sec=0.0)
    assert not tick.deadline_met
    assert tick.iterations == 1
    assert tick.action.any()


def ahead(planner='grasp', *, updates=1, **planner_settings) -> Controller:
    config = ControllerConfig(schedule='ahead', feedback_updates=updates)
    return make_controller(planner, config=config, **planner_settings)


def drive_ahead(controller, plant, ticks):
    record = []
    for _ in range(ticks):
        record.append(controller.step(plant.frame(), now_sec=plant.stamp_sec))
        controller.prepare()
        plant.step(record[-1].action)
    return record


@pytest.mark.parametrize('planner', ['grasp', 'cem'])
@pytest.mark.parametrize('updates', [0, 1, 2])
def test_plans_are_made_before_the_frame_and_reach_the_goal(planner, updates):
    controller, plant = ahead(planner, updates=updates), tiny_world.Plant((0.2, 0.3))
    record = drive_ahead(controller, plant, 120)
    assert np.linalg.norm(plant.place - (0.7, 0.6)) < 0.03
    assert record[0].prepare_sec == 0
    solved = [tick for tick in record[1:] if tick.status is TickStatus.SOLVED]
    assert len(solved) == 59
    assert all(tick.prepare_sec > 0 and tick.shift_steps == 2 for tick in solved)


def test_with_an_exact_model_a_plan_made_ahead_is_the_plan_made_after_the_frame():
    commands = []
    for config in (ControllerConfig(schedule='after_frame'),
                       ControllerConfig(schedule='ahead', feedback_updates=0)):
        controller = make_controller(config=config, noise_scale=0.0)
        record = drive_ahead(controller, tiny_world.Plant((0.2, 0.3)), 20)
        commands.append(np.stack([tick.action for tick in record]))
    np.testing.assert_allclose(commands[0], commands[1], atol=1e-3)  # 16 bits of the picture


def test_a_plan_made_ahead_keeps_the_rate_limit_from_the_last_command_of_the_block():
    controller, plant = ahead(updates=0), tiny_world.Plant((0.2, 0.3))
    controller.limits = tiny_world.limits([0.03, 0.03])
    actions = np.stack([tick.action for tick in drive_ahead(controller, plant, 12)])
    assert np.abs(np.diff(actions, axis=0)).max() <= 0.03 + 1e-6
    np.testing.assert_allclose(actions[:6, 0], 0.03 * np.arange(1, 7), atol=1e-6)  # full throttle


def test_after_the_frame_no_planner_is_asked():
    controller, plant = ahead(), tiny_world.Plant((0.2, 0.3))
    drive_ahead(controller, plant, 2)
    controller.planner.solve = None
    tick = controller.step(plant.frame(), now_sec=plant.stamp_sec)
    assert tick.status is TickStatus.SOLVED
    assert tick.prepare_sec > 0


def test_the_frame_corrects_what_was_prepared():
    """A robot that was pushed aside while it stood at its goal starts back at once."""
    moved = {}
    for updates in (0, 1):
        controller, plant = ahead(updates=updates), tiny_world.Plant((0.2, 0.3))
        drive_ahead(controller, plant, 120)
        for past in (plant.place, plant.previous):
            past += (0.05, 0.0)
        moved[updates] = controller.step(plant.frame(), now_sec=plant.stamp_sec).action
    assert abs(moved[0][0]) < 0.02
    assert moved[1][0] < -0.05


def test_a_solve_that_follows_its_frame_leaves_time_to_prepare_the_next_one():
    # Else every tick of a busy machine is late because the one before was.
    def budgets(schedule):
        controller = make_controller(config=ControllerConfig(schedule=schedule, deadline_sec=0.06))
        controller._clock = lambda: 0.0
        solve, found = controller.planner.solve, []

        def watched(problem, warm_start, deadline):
            found.append(next(ms for ms in range(1, 99) if not deadline.allows(1e-3 * ms)))
            return solve(problem, warm_start, deadline)

        controller.planner.solve = watched
        drive(controller, tiny_world.Plant((0.2, 0.3)), 9)  # five model steps, none prepared
        return found

    assert budgets('after_frame') == [60, 60, 60, 60, 60]
    assert budgets('ahead') == [20, 20, 20]  # the plan is kept in between


def test_where_nothing_was_prepared_the_plan_is_kept_once():
    controller = make_controller(config=ControllerConfig(schedule='ahead', deadline_sec=60.0))
    first, _, kept, _, solved = drive(controller, tiny_world.Plant((0.2, 0.3)), 5)
    assert [tick.iterations > 0 for tick in (first, kept, solved)] == [True, False, True]
    assert kept.status is TickStatus.SOLVED and kept.plan.cost <= first.plan.cost
    # The rest of the last plan, or the iterate that its solve ended with, whichever is better.
    shifted = [plan[1:] for plan in (first.plan.actions, first.plan.iterate_actions)]
    assert any(torch.equal(kept.plan.actions[:-1], actions) for actions in shifted)
    controller.prepare()
    assert controller._prepared.plan.iterations > 0  # it goes on from what was kept


def test_a_planner_that_was_changed_is_not_kept_waiting():
    controller = make_controller(config=ControllerConfig(schedule='ahead', deadline_sec=60.0))
    plant = tiny_world.Plant((0.2, 0.3))
    drive(controller, plant, 2)
    controller.planner = make_controller().planner
    assert drive(controller, plant, 1)[0].iterations > 0


def test_without_a_deadline_no_plan_is_kept():
    controller = make_controller(config=ControllerConfig(schedule='ahead', deadline_sec=0.0))
    ticks = drive(controller, tiny_world.Plant((0.2, 0.3)), 5)
    assert all(tick.iterations for tick in ticks[::2])


@pytest.mark.parametrize('change', ['lost frame', 'goal', 'limits', 'planner'])
def test_a_preparation_that_no_longer_fits_is_not_used(change):
    controller, plant = ahead(), tiny_world.Plant((0.2, 0.3))
    drive_ahead(controller, plant, 2)
    if change == 'lost frame':
        plant.steps += 2
    elif change == 'goal':
        controller.set_goal(controller.encode_goal(tiny_world.Plant((0.1, 0.1)).frame()))
    elif change == 'limits':
        controller.limits = tiny_world.limits()
    else:
        controller.planner = registry.make('grasp', controller.model, horizon=5)
    tick = controller.step(plant.frame(), now_sec=plant.stamp_sec)
    assert tick.status is TickStatus.SOLVED
    assert tick.prepare_sec == 0
    assert tick.plan.actions.shape[0] == (5 if change == 'planner' else 10)
