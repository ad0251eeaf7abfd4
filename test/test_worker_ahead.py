# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's worker thread in schedule `ahead`: what is prepared between ticks, and for whom."""

import threading
import time
from dataclasses import replace

import pytest
from worker_bench import CARD, LEFT, LIMIT_SEC, RIGHT, Goal, benches, moves_right

from grasp_ros.control.controller import TickStatus

AHEAD = {'control.schedule': 'ahead'}


@pytest.fixture
def bench():
    with benches() as make:
        yield make


def is_prepared(report):
    return report.tick.status is TickStatus.SOLVED and report.tick.prepare_sec > 0


def test_plans_are_made_between_ticks_and_end_with_them(bench):
    # So many iterations never end by themselves: what is prepared ends in time, or never.
    b = bench(**AHEAD, **{'planner.iterations': 10**9, 'control.deadline_sec': 0.005})
    b.worker.set_goal(Goal(1, RIGHT))
    for _ in range(3):
        report = b.wait_for_next(lambda r: is_prepared(r) and moves_right(r))
        assert report.tick.iterations > 0 and report.tick.shift_steps == 1


def test_the_schedule_changes_while_it_runs(bench):
    b = bench(**{'control.schedule': 'after_frame'})
    b.worker.set_goal(Goal(1, RIGHT))
    b.wait_for_next(moves_right)
    assert not any(map(is_prepared, b.reports))
    b.worker.apply(b.settings(**AHEAD))
    b.wait_for_next(is_prepared)
    before = len(b.reports)
    b.worker.apply(b.settings(**{'control.schedule': 'after_frame'}))

    def after():
        return [r for r in b.reports[before:] if r.settings.controller.schedule == 'after_frame']

    b.wait_for(lambda: sum(map(moves_right, after())) > 3)
    assert not any(map(is_prepared, after()))


@pytest.mark.parametrize('change', ['goal', 'cancel', 'settings', 'clock', 'clear', 'stop'])
def test_a_preparation_that_nobody_wants_any_more_ends(bench, change):
    b = bench(**AHEAD)
    begun, ended, budgets = threading.Event(), threading.Event(), []

    def prepare(*, budget_sec, is_wanted):
        budgets.append(budget_sec)
        begun.set()
        while is_wanted():
            time.sleep(0.001)
        ended.set()

    b.controller.prepare = prepare
    goal = Goal(1, RIGHT)
    b.worker.set_goal(goal)
    b.wait_for(begun.is_set)
    assert not ended.is_set()
    if change == 'goal':
        b.worker.set_goal(Goal(2, LEFT))
    elif change == 'cancel':
        b.worker.cancel(goal)
    elif change == 'settings':
        b.worker.apply(b.settings(**{'planner.horizon': 4}))
    elif change == 'clock':
        b.worker.forget_frames()
    elif change == 'clear':
        b.worker.clear_warm_start()
    else:
        assert b.worker.stop(LIMIT_SEC)
    assert ended.wait(LIMIT_SEC)
    assert 0 < budgets[0] < CARD.model_step_sec


def test_a_preparation_that_fails_means_the_safe_command_and_work_goes_on(bench):
    b = bench(**AHEAD)
    prepare, calls = b.controller.prepare, []

    def fail_once(**options):
        calls.append(options)
        if len(calls) == 1:
            raise RuntimeError('CUDA error: device-side assert triggered')
        prepare(**options)

    b.controller.prepare = fail_once
    b.worker.set_goal(Goal(1, RIGHT))
    report = b.wait_for_next(lambda r: r.tick.status is TickStatus.SOLVER_FAILED)
    assert 'preparation' in report.tick.detail and not report.tick.action.any()
    b.wait_for_next(lambda r: is_prepared(r) and moves_right(r))


@pytest.mark.parametrize('schedule', ['after_frame', 'ahead'])
def test_a_model_of_two_frames_sees_the_present_one_and_the_one_a_model_step_before(
    bench, schedule
):
    b = bench(replace(CARD, frames=2), **{'control.schedule': schedule})
    b.worker.set_goal(Goal(1, RIGHT))
    b.wait_for_next(moves_right)
    b.picture = LEFT
    b.wait_for(lambda: (48, 48) in b.model.seen)
    assert {(128, 128), (128, 48)} <= set(b.model.seen)
