# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's worker thread: what is sent when goals change, solvers hang and models fail."""

import time
from dataclasses import replace

import pytest
from worker_bench import CARD, LEFT, RIGHT, Goal, benches, moves_left, moves_right

from grasp_ros.control.controller import TickStatus
from grasp_ros.control.tick import COLD
from grasp_ros.control.warm_start import Drop
from grasp_ros.node.goals import Result
from grasp_ros.planners import registry


@pytest.fixture
def bench():
    with benches() as make:
        yield make


def test_there_is_a_report_in_every_tick_whatever_is_missing(bench):
    b = bench()
    b.wait_for_next(lambda r: r.tick.status is TickStatus.NO_IMAGE, seeing=False)
    b.wait_for_next(lambda r: r.tick.status is TickStatus.NO_GOAL)
    b.wait_for_next(lambda r: r.tick.status is TickStatus.STALE_IMAGE, seeing=False)
    assert [report.counters.ticks for report in b.reports] == list(range(1, len(b.reports) + 1))
    assert not any(report.tick.action.any() for report in b.reports)


def test_a_goal_that_comes_during_a_solve_is_the_one_that_is_sent(bench):
    b = bench()
    first, second = Goal(1, RIGHT), Goal(2, LEFT)
    b.worker.set_goal(first)
    b.wait_for_next(moves_right)
    b.model.may_go_on.clear()
    b.wait_for(b.model.is_held.is_set)
    sent = len(b.reports)
    b.worker.set_goal(second)
    assert first.end.code == Result.PREEMPTED
    b.model.may_go_on.set()
    b.wait_for_next(moves_left)
    assert not any(map(moves_right, b.reports[sent:]))
    assert {report.goal_number for report in b.reports[sent:]} == {2}


def test_a_cancel_during_a_solve_is_followed_by_the_safe_command(bench):
    b = bench()
    goal = Goal(1, RIGHT)
    b.worker.set_goal(goal)
    b.wait_for_next(moves_right)
    b.model.may_go_on.clear()
    b.wait_for(b.model.is_held.is_set)
    sent = len(b.reports)
    b.worker.cancel(goal)
    b.model.may_go_on.set()
    b.wait_for(lambda: len(b.reports) > sent)
    assert b.reports[sent].tick.status is TickStatus.NO_GOAL
    assert not b.reports[sent].tick.action.any()
    assert goal.end.code == Result.CANCELLED


def test_a_goal_that_is_cancelled_before_it_was_begun_ends_too(bench):
    b = bench()
    first, second = Goal(1, RIGHT), Goal(2, LEFT)
    b.worker.set_goal(first)
    b.wait_for_next(moves_right)
    b.model.may_go_on.clear()
    b.wait_for(b.model.is_held.is_set)
    b.worker.set_goal(second)
    b.worker.cancel(second)
    b.model.may_go_on.set()
    b.wait_for_next(lambda report: report.tick.status is TickStatus.NO_GOAL)
    assert first.end.code == Result.PREEMPTED
    assert second.end.code == Result.CANCELLED


def test_nothing_is_sent_for_a_goal_that_is_cancelled_between_solve_and_command(bench):
    b = bench()
    goal = Goal(1, RIGHT)
    b.worker.set_goal(goal)
    b.wait_for_next(moves_right)
    calls = []

    def cancel_after_the_solve():
        # Asked at the start of a tick, and once more when its command is about to be sent.
        calls.append(len(b.model.seen))
        if len(calls) > 1 and calls[-1] > calls[-2]:
            b.worker.cancel(goal)
        return time.monotonic()

    sent = len(b.reports)
    b.now_sec = cancel_after_the_solve
    b.wait_for(lambda: goal.end is not None)
    b.now_sec = time.monotonic
    cancelled = next(n for n, r in enumerate(b.reports) if r.tick.detail == 'the goal has changed')
    assert cancelled >= sent and goal.end.code == Result.CANCELLED
    assert not any(report.tick.action.any() for report in b.reports[cancelled:])


def test_no_goal_ends_in_a_pause_of_the_clock_before_it_is_noticed(bench):
    b = bench(**{'goal.no_progress_sec': 0.2, 'control.image_timeout_sec': 0.6})
    goal = Goal(1, RIGHT)
    b.worker.set_goal(goal)
    b.wait_for_next(moves_right)
    stopped_sec = time.monotonic()
    b.now_sec = lambda: stopped_sec
    b.wait_for_next(lambda r: r.tick.status is TickStatus.CLOCK_STANDS, seeing=False)
    assert goal.end is None
    b.now_sec = time.monotonic
    # It goes on, and so does the goal's time: nothing in here ever gets nearer.
    b.wait_for(lambda: goal.end is not None)
    assert goal.end.code == Result.NO_PROGRESS


def test_after_a_pause_of_the_clock_the_rate_limit_counts_from_standing_still(bench):
    b = bench(**{'control.max_action_rate': [0.5, 0.5], 'control.image_timeout_sec': 0.2})
    b.worker.set_goal(Goal(1, RIGHT))
    most = float(b.controller.limits.max_change[0])
    b.wait_for_next(lambda r: r.tick.action[0] > 2.5 * most)
    stopped_sec = time.monotonic()
    b.now_sec = lambda: stopped_sec
    b.wait_for_next(lambda r: r.tick.status is TickStatus.CLOCK_STANDS, seeing=False)
    b.now_sec = time.monotonic
    first = b.wait_for_next(lambda r: r.tick.status.drives)
    assert 0 < first.tick.action[0] <= most + 1e-6


def test_the_random_numbers_of_a_tick_are_those_of_the_number_that_is_recorded(bench):
    b = bench()
    step, asked = b.controller.step, []

    def watched(*arguments, number, **options):
        asked.append(number)
        return step(*arguments, number=number, **options)

    b.controller.step = watched
    first = b.wait_for_next(lambda r: asked)
    b.wait_for_next(lambda r: r.counters.ticks > first.counters.ticks + 3)
    told = [report.counters.ticks for report in b.reports]
    assert len(asked) > 3 and set(asked[:3]) <= set(told)
    assert asked[:3] == list(range(asked[0], asked[0] + 3))


def test_a_solver_that_hangs_does_not_keep_the_worker_from_being_stopped(bench):
    b = bench()
    goal = Goal(1, RIGHT)
    b.worker.set_goal(goal)
    b.wait_for_next(moves_right)
    b.model.may_go_on.clear()
    b.wait_for(b.model.is_held.is_set)
    assert not b.worker.stop(0.05)
    assert goal.end.code == Result.DEACTIVATED


def test_an_action_from_a_frame_that_has_become_stale_is_not_sent(bench):
    b = bench(**{'control.image_timeout_sec': 0.1, 'control.schedule': 'after_frame'})
    b.worker.set_goal(Goal(1, RIGHT))
    b.wait_for_next(moves_right)
    b.model.may_go_on.clear()
    b.wait_for(b.model.is_held.is_set)
    sent, held_sec = len(b.reports), time.monotonic()
    b.wait_for(lambda: time.monotonic() > held_sec + 0.2)
    b.model.may_go_on.set()
    b.wait_for(lambda: len(b.reports) > sent)
    report = b.reports[sent]
    assert report.tick.status is TickStatus.STALE_IMAGE and not report.tick.action.any()
    assert not report.tick.deadline_met
    after = b.wait_for_next(moves_right)
    assert after.counters.ticks_skipped > 0


def test_the_robot_stops_on_time_when_the_frames_that_come_are_no_good(bench):
    timeout_sec = 0.7
    b = bench(
        replace(CARD, model_step_sec=0.6), **{'control.image_timeout_sec': timeout_sec}
    )
    b.worker.set_goal(Goal(1, RIGHT))
    good_sec = b.wait_for_next(moves_right).arrival.frame.stamp_sec
    b.model.is_blind = True
    report = b.wait_for_next(lambda r: r.tick.status is TickStatus.STALE_IMAGE)
    assert 'not finite' in report.tick.detail
    # Then, and not at the next tick of the control rate, 0.5 s later.
    assert timeout_sec < report.started_sec - good_sec < timeout_sec + 0.4
    b.model.is_blind = False
    b.wait_for_next(moves_right)


def test_a_model_that_fails_means_the_safe_command_and_work_goes_on_when_it_recovers(bench):
    b = bench()
    b.worker.set_goal(Goal(1, RIGHT))
    b.wait_for_next(moves_right)
    b.model.failure = RuntimeError('CUDA error: device-side assert triggered')
    report = b.wait_for_next(lambda r: r.tick.status is TickStatus.SOLVER_FAILED)
    assert not report.tick.action.any()
    b.model.failure = None
    b.wait_for_next(moves_right)


def test_a_model_that_keeps_failing_ends_the_goal(bench):
    b = bench(**{'goal.fault_timeout_sec': 1.0})  # so long, for a first solve may be slow
    goal = Goal(1, RIGHT)
    b.worker.set_goal(goal)
    b.wait_for_next(moves_right)
    b.model.failure = RuntimeError('out of memory')
    b.wait_for(lambda: goal.end is not None)
    assert goal.end.code == Result.SOLVER_FAILED
    failed = [r for r in b.reports if r.tick.status is TickStatus.SOLVER_FAILED]
    counts = [report.counters.solver_failures for report in failed]
    assert len(counts) > 1 and counts == list(range(counts[0], counts[0] + len(counts)))


def test_a_goal_that_cannot_be_encoded_ends_and_the_next_one_is_driven_to(bench):
    b = bench()
    encode, b.model.encode = b.model.encode, lambda observation: b.model.no_such_thing
    goal = Goal(1, RIGHT)
    b.worker.set_goal(goal)
    b.wait_for(lambda: goal.end is not None)
    assert goal.end.code == Result.SOLVER_FAILED and 'cannot be encoded' in goal.end.reason
    b.model.encode = encode
    b.worker.set_goal(Goal(2, RIGHT))
    b.wait_for_next(moves_right)


def test_the_thread_lives_on_when_not_even_the_safe_command_could_be_sent(bench):
    b = bench()
    b.worker.set_goal(Goal(1, RIGHT))
    b.wait_for_next(moves_right)
    reset, failed = b.controller.reset, []

    def fail():
        failed.append(True)
        raise RuntimeError('CUDA error: device-side assert triggered')

    b.model.failure, b.controller.reset = RuntimeError('no'), fail
    b.wait_for(lambda: failed)
    b.model.failure, b.controller.reset = None, reset
    b.wait_for_next(moves_right)


def test_every_planner_that_can_be_chosen_drives(bench):
    b = bench()
    b.worker.set_goal(Goal(1, RIGHT))
    for name in registry.PLANNERS:
        b.worker.apply(b.settings(**{'planner.name': name}))
        b.wait_for_next(lambda r, n=name: r.settings.planner_name == n and moves_right(r))


def test_a_camera_that_is_gone_for_long_ends_the_goal(bench):
    b = bench(**{'goal.fault_timeout_sec': 0.1, 'control.image_timeout_sec': 0.05})
    goal = Goal(1, RIGHT)
    b.worker.set_goal(goal)
    b.wait_for_next(moves_right)
    b.wait_for(lambda: goal.end is not None, seeing=False)
    assert goal.end.code == Result.NO_IMAGE


def test_a_goal_is_reached_when_it_is_seen_and_not_while_the_camera_is_gone(bench):
    b = bench(**{'goal.dwell_sec': 0.2, 'control.image_timeout_sec': 30.0, 'goal.tolerance': 0.1})
    b.picture, goal = RIGHT, Goal(1, RIGHT)
    b.worker.set_goal(goal)
    b.wait_for(lambda: any(report.tick.has_seen for report in b.reports))
    started_sec = time.monotonic()
    b.wait_for_next(lambda _: time.monotonic() - started_sec > 0.5, seeing=False)
    assert goal.end is None
    b.wait_for(lambda: goal.end is not None)
    assert goal.end.code == Result.SUCCESS


def test_a_changed_horizon_reshapes_the_warm_start_and_sends_no_safe_command(bench):
    b = bench()
    b.worker.set_goal(Goal(1, RIGHT))
    b.wait_for_next(moves_right)
    for horizon in (9, 3):
        sent = len(b.reports)
        b.worker.apply(b.settings(**{'planner.horizon': horizon}))
        first = b.wait_for_next(lambda r, n=horizon: r.settings.planner.horizon == n)
        assert len(first.tick.plan.actions) == horizon
        assert first.tick.shift_steps >= 0
        assert all(report.tick.action.any() for report in b.reports[sent:])


def test_frames_are_forgotten_when_the_clock_jumps_back(bench):
    b = bench()
    b.worker.set_goal(Goal(1, RIGHT))
    b.wait_for_next(moves_right)
    sent = len(b.reports)
    b.worker.forget_frames()
    b.wait_for_next(lambda r: r.tick.status is TickStatus.NO_IMAGE, seeing=False)
    after = b.wait_for_next(moves_right)
    assert after.goal_number == 1
    solved = next(r for r in b.reports[sent + 1 :] if r.tick.status is TickStatus.SOLVED)
    assert solved.tick.shift_steps == -1


def test_a_flood_of_frames_makes_no_more_ticks(bench):
    b = bench()
    b.worker.set_goal(Goal(1, RIGHT))
    b.wait_for_next(moves_right)
    before, started_sec = b.reports[-1].counters.ticks, time.monotonic()
    while time.monotonic() < started_sec + 0.5:
        b.see()
    elapsed_sec = time.monotonic() - started_sec
    ticks = b.reports[-1].counters.ticks - before
    assert ticks <= elapsed_sec / CARD.control_period_sec + 2


WATCHED = replace(CARD, innovation_limit=1e-6, motion_limit=1e-6)


@pytest.mark.parametrize(
    ('watched', 'stop', 'code'),
    [
        ('frozen_frames', TickStatus.FROZEN_IMAGE, Result.FROZEN_IMAGE),
        ('unforeseen_frames', TickStatus.UNFORESEEN, Result.UNFORESEEN),
    ],
)
def test_a_stop_by_what_is_seen_ends_the_goal_with_its_reason_and_lasts_until_the_next(
    bench, watched, stop, code
):
    settings = {'control.frozen_frames': 0, 'control.unforeseen_frames': 0}
    b = bench(WATCHED, **{**settings, f'control.{watched}': 3})
    first, second = Goal(1, RIGHT), Goal(2, LEFT)
    b.worker.set_goal(first)  # the robot should move, and the picture stays as it is
    report = b.wait_for_next(lambda r: r.tick.status is stop)
    b.wait_for(lambda: first.end is not None)
    assert first.end.code == code and stop.value in first.end.reason
    assert not report.tick.action.any()
    sent = len(b.reports)
    b.wait_for(lambda: len(b.reports) > sent + 5)
    assert {r.tick.status for r in b.reports[sent:]} == {stop}
    b.worker.set_goal(second)
    b.wait_for_next(moves_left)
    b.wait_for(lambda: second.end is not None)
    assert second.end.code == code


def test_a_gate_that_passes_nothing_on_is_no_fault_of_the_camera(bench):
    b = bench(WATCHED, **{'control.frozen_frames': 3, 'control.unforeseen_frames': 3})
    b.share = 0.0
    b.worker.set_goal(Goal(1, RIGHT))
    b.wait_for_next(moves_right)
    sent = len(b.reports)
    b.wait_for(lambda: len(b.reports) > sent + 20)
    assert all(map(moves_right, b.reports[sent:]))
    b.share = 1.0
    b.wait_for_next(lambda r: r.tick.status is TickStatus.FROZEN_IMAGE)


def test_the_ends_of_the_warm_start_are_counted_by_reason(bench):
    b = bench()
    b.worker.set_goal(Goal(1, RIGHT))
    b.wait_for_next(moves_right)
    assert b.reports[-1].counters.last_drop is None
    b.worker.set_goal(Goal(2, LEFT))
    b.wait_for_next(moves_left)
    b.worker.forget_frames()
    after = b.wait_for_next(lambda r: r.counters.last_drop is Drop.RESET)
    assert after.counters.drops == {Drop.GOAL: 1, Drop.RESET: 1}


@pytest.mark.parametrize('schedule', ['after_frame', 'ahead'])
def test_a_warm_start_that_is_cleared_is_dropped_once_and_the_goal_stays(bench, schedule):
    b = bench(**{'control.schedule': schedule})
    goal = Goal(1, RIGHT)
    b.worker.set_goal(goal)
    b.wait_for_next(lambda r: moves_right(r) and r.tick.shift_steps != COLD)
    before = len(b.reports)
    b.worker.clear_warm_start()
    cleared = b.wait_for_next(lambda r: r.tick.dropped is Drop.CLEARED)
    assert cleared.counters.drops == {Drop.CLEARED: 1}
    # The command of that very tick is one of a plan that began cold.
    assert cleared.tick.status is TickStatus.SOLVED and cleared.tick.shift_steps == COLD
    b.wait_for_next(lambda r: moves_right(r) and r.tick.shift_steps != COLD)
    assert all(report.tick.action.any() for report in b.reports[before:]) and goal.end is None
    assert b.reports[-1].counters.drops == {Drop.CLEARED: 1}
