# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every fault scenario once, on real nodes; and that what judges them sees what must not be."""

import importlib.util
import json
import math
from contextlib import nullcontext
from dataclasses import replace

import pytest

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
if importlib.util.find_spec('mujoco') is None:
    pytest.skip('no embedded world: pip install .[sim]', allow_module_level=True)
from click.testing import CliRunner
from grasp_ros.msg import GateStatus, SolverStatistics

from grasp_ros.node import messages
from grasp_ros.reliability import command as faults
from grasp_ros.reliability.bench import Bench
from grasp_ros.reliability.faults import SCENARIOS
from grasp_ros.reliability.rig import open_client
from grasp_ros.reliability.scenario import Outcome, PromiseBroken, Reaction, run_once
from grasp_ros.reliability.watcher import Limits, Watcher

pytestmark = pytest.mark.processes

# A machine that is busy with other things may be late; `grasp-ros faults` counts every run.
TRIES = 3
FORWARD = (0.3, 0.0, 0.0, 0.0, 0.0, 0.0)
STILL = (0.0,) * 6


@pytest.fixture(scope='module')
def bench(tmp_path_factory):
    with open_client() as client:
        robots = Bench(client, tmp_path_factory.mktemp('faults'))
        try:
            yield robots
        finally:
            robots.discard()


@pytest.mark.parametrize(
    'chosen', faults.in_order(SCENARIOS.values()), ids=lambda chosen: chosen.name
)
def test_the_promise_is_kept(bench, chosen):
    for _ in range(TRIES):
        outcome = run_once(chosen, bench)
        if not outcome.late:
            break
    assert outcome.held, outcome.problem
    assert outcome.seen


class Nobody:
    """Stands in for a bench and its robot."""

    def __init__(self, *problems):
        self.problems = problems
        self.discarded = False

    def robot(self, name):
        return self

    def verdict(self):
        return 7, list(self.problems)

    def discard(self):
        self.discarded = True


def reacting(seconds=0.1):
    chosen = SCENARIOS['camera_stops']
    return replace(chosen, bound_sec=0.2, run=lambda robot: Reaction(seconds, ('status',)))


def test_a_reaction_within_the_bound_holds_and_one_after_it_is_late():
    nobody = Nobody()
    assert run_once(reacting(), nobody).held and not nobody.discarded
    late = run_once(reacting(0.3), nobody)
    assert late.late and not late.held and '0.300 s' in late.problem


def test_a_broken_promise_or_command_fails_and_the_robot_is_not_used_again():
    def breaks(robot):
        raise PromiseBroken('it drove on')

    for chosen, nobody in (
        (replace(reacting(), run=breaks), Nobody()),
        (reacting(), Nobody('not finite')),
    ):
        outcome = run_once(chosen, nobody)
        assert not outcome.held and not outcome.late and nobody.discarded
        assert 'it drove on' in outcome.problem or 'not finite' in outcome.problem


class TestWatcher:
    """What it lets pass and what not; times in seconds."""

    @pytest.fixture
    def watcher(self):
        return Watcher(Limits(linear=0.5, angular=1.0))

    def send(self, watcher, at_sec, command):
        stamp = messages.to_time(int(1e9 * at_sec))
        watcher.hear('cmd_vel', messages.twist(command, stamp, ''))

    def say(self, watcher, at_sec, state):
        status = GateStatus(state=state)
        status.header.stamp = messages.to_time(int(1e9 * at_sec))
        watcher.hear('gate_status', status)

    def tick(self, watcher, at_sec, status, goal):
        report = SolverStatistics(status=status, goal_id=goal)
        report.header.stamp = messages.to_time(int(1e9 * at_sec))
        watcher.hear('solver_statistics', report)

    def test_commands_within_the_limits_pass(self, watcher):
        watcher.armed(True, 0.5)
        self.say(watcher, 1.0, GateStatus.PASSING)
        self.send(watcher, 1.0, FORWARD)
        assert watcher.verdict() == []
        assert watcher.checked == 1

    @pytest.mark.parametrize(
        ('command', 'word'),
        [
            ((math.nan, *STILL[1:]), 'not finite'),
            ((*STILL[:5], math.inf), 'not finite'),
            ((0.4, 0.4, *STILL[2:]), 'out of bounds'),
            ((*STILL[:5], -1.1), 'out of bounds'),
        ],
    )
    def test_what_no_robot_may_get_is_told(self, watcher, command, word):
        self.send(watcher, 1.0, command)
        assert word in watcher.verdict()[0]

    @pytest.mark.parametrize('state', ['DISARMED', 'STOPPED', 'DRY_RUN'])
    def test_motion_while_the_gate_says_that_it_stops_is_told(self, watcher, state):
        self.say(watcher, 1.0, getattr(GateStatus, state))
        self.send(watcher, 1.0, STILL)
        self.send(watcher, 1.1, FORWARD)
        self.say(watcher, 1.2, GateStatus.PASSING)
        self.send(watcher, 1.2, FORWARD)
        assert len(watcher.verdict()) == 1
        # The state holds on after a verdict.
        self.send(watcher, 1.3, FORWARD)
        assert watcher.verdict() == []

    def test_motion_after_the_gate_was_disarmed_is_told_whatever_the_gate_says(self, watcher):
        self.say(watcher, 0.0, GateStatus.PASSING)
        watcher.armed(False, 1.0)
        self.send(watcher, 1.1, FORWARD)
        assert 'disarmed' in watcher.verdict()[0]

    def test_with_a_deceleration_limit_a_stop_must_become_slower(self, watcher):
        watcher.limits.deceleration = 1.0
        self.say(watcher, 1.0, GateStatus.STOPPED)
        for at_sec, speed in ((0.95, 0.3), (1.05, 0.2), (1.1, 0.15), (1.2, 0.14)):
            self.send(watcher, at_sec, (speed, *STILL[1:]))
        assert len(watcher.verdict()) == 1

    def test_ticks_for_a_goal_that_is_over_or_replaced_are_told(self, watcher):
        self.tick(watcher, 1.0, SolverStatistics.SOLVED, 1)
        watcher.goal(1.5, 1.6)
        self.tick(watcher, 1.7, SolverStatistics.SOLVED, 1)  # replaced
        self.tick(watcher, 1.8, SolverStatistics.SOLVED, 2)
        watcher.goal_ended(2.0)
        self.tick(watcher, 2.1, SolverStatistics.PREVIOUS_PLAN, 2)  # over
        self.tick(watcher, 2.2, SolverStatistics.NO_GOAL, 2)
        replaced, over = watcher.verdict()
        assert 'replaced' in replaced and 'over' in over

    def test_another_controller_counts_its_goals_anew(self, watcher):
        self.tick(watcher, 1.0, SolverStatistics.SOLVED, 5)
        watcher.controller_ended(2.0)
        watcher.goal(3.0, 3.1)
        self.tick(watcher, 3.2, SolverStatistics.SOLVED, 1)
        assert watcher.verdict() == []


def test_robots_side_by_side_share_the_runs(tmp_path):
    numbers = tmp_path / 'faults.json'
    arguments = ['--runs', 3, '--jobs', 2, '--only', 'out_of_bounds', '--json', numbers,
                 '--out', tmp_path]  # fmt: skip
    result = CliRunner().invoke(faults.command, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    entry, = json.loads(numbers.read_text())['faults']
    assert entry['held'] == len(entry['runs']) == 3


def test_a_slip_in_a_scenario_is_a_run_that_did_not_hold():
    def slip(robot):
        return [][0]

    nobody = Nobody()
    outcome = run_once(replace(reacting(), run=slip), nobody)
    assert not outcome.held and 'IndexError' in outcome.problem and nobody.discarded


@pytest.mark.parametrize(('held', 'code'), [(True, 0), (False, 1)])
def test_the_command_counts_what_held_and_writes_it_down(monkeypatch, tmp_path, held, code):
    outcome = Outcome(held, reaction_sec=0.25 if held else math.nan, commands=9, seen=('log',))
    monkeypatch.setattr(faults, 'run_once', lambda chosen, bench: outcome)
    monkeypatch.setattr(faults, 'open_client', nullcontext)  # no node: nothing is run
    monkeypatch.setattr(faults, 'environment', lambda **domain: {})
    numbers, text = tmp_path / 'faults.json', tmp_path / 'page.md'
    text.write_text('before\n<!-- begin faults -->\n<!-- end faults -->\nafter\n')
    arguments = ['--runs', 3, '--only', 'camera_stops', '--only', 'no_messages', '--json', numbers,
                 '--markdown', text, '--out', tmp_path]  # fmt: skip
    result = CliRunner().invoke(faults.command, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    told = {entry['name']: entry for entry in json.loads(numbers.read_text())['faults']}
    assert told['camera_stops']['held'] == (3 if held else 0)
    assert len(told['camera_stops']['runs']) == 3 and len(told['no_messages']['runs']) == 1
    page = text.read_text()
    assert page.startswith('before\n') and page.endswith('after\n')
    assert ('| 3 of 3 |' if held else '| 0 of 3 |') in page
    assert ('0.250' in page) == held
