# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The long run in its short form, and that its verdicts tell good from bad."""

import json
import math
import subprocess
import sys
import time
from dataclasses import replace

import pytest

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
pytest.importorskip('mujoco', reason='no embedded world: pip install .[sim]')

from grasp_ros.msg import SolverStatistics

from grasp_ros.errors import ConfigError
from grasp_ros.page import write_part
from grasp_ros.reliability import bare_timer, soak_report
from grasp_ros.reliability.rig import Heard
from grasp_ros.reliability.soak_record import Event, Record, TickTimes

pytestmark = pytest.mark.processes

PERIOD_SEC, DEADLINE_SEC, MINUTES = 0.1, 0.06, 20
MISSES, EVERY_PERIOD, SAFE, MEMORY, DRIFT, READY, CAMERA = range(7)


def recorded():
    """A run of twenty minutes in which all went well, and its bare timer."""
    seconds = 60 * MINUTES
    ticks = [
        TickTimes(n * PERIOD_SEC, 0.015, 0.014, 0.017) for n in range(10 * seconds)
    ]
    record = Record(started_sec=0.0, ended_sec=float(seconds), ticks=ticks, commands_checked=9,
                    deadlines=[(tick.at_sec, 0) for tick in ticks])
    record.commands_sec.extend(0.02 * n for n in range(50 * seconds))
    record.memory_kb['mpc_node'] = [(float(t), 300 * 1024 + min(t, 60)) for t in range(seconds)]
    record.events = [
        Event('camera stall', 10.0, 12.0, 0.15),
        Event('controller kill', seconds + 1.0, seconds + 6.0, 3.0),
    ]
    return record, [(tick.at_sec, 1e-4) for tick in ticks]


def verdicts(record, timer):
    """Whether each promise was kept."""
    numbers = soak_report.summary(
        record, timer, period_sec=PERIOD_SEC, deadline_sec=DEADLINE_SEC
    )
    bars = soak_report.bars(numbers, period_sec=PERIOD_SEC)
    text = soak_report.markdown(numbers, bars, heading='a run')
    assert json.dumps(numbers, allow_nan=False) and all(bar.promise in text for bar in bars)
    return [bar.kept for bar in bars]


def test_what_is_heard_after_the_oldest_was_forgotten_is_still_new():
    heard = Heard()
    for message in range(heard.maxlen + 7):
        heard.append(message)
    looked_at = heard.total
    assert heard.since(looked_at) == [] and heard.since(0) == list(heard)
    heard.append('a')
    heard.append('b')
    assert heard.since(looked_at) == ['a', 'b']


def test_a_run_without_a_fault_keeps_all_promises():
    assert verdicts(*recorded()) == [True] * 7


def test_missed_deadlines_are_measured_by_the_machine():
    record, timer = recorded()
    record.deadlines[::50] = [(at_sec, 1) for at_sec, _ in record.deadlines[::50]]
    assert verdicts(record, timer)[MISSES] is False
    # The bare timer was later than a tick can make good, half as often.
    timer[::100] = [(at_sec, DEADLINE_SEC) for at_sec, _ in timer[::100]]
    assert verdicts(record, timer)[MISSES] is True


def test_a_late_tick_counts_whether_or_not_it_has_a_new_plan():
    record = Record()
    # Four were missed before the first that is heard.
    late = [(SolverStatistics.SOLVED, 3, 4), (SolverStatistics.PREVIOUS_PLAN, 0, 5),
            (SolverStatistics.SOLVED, 0, 6), (SolverStatistics.STALE_IMAGE, 0, 7),
            (SolverStatistics.NO_GOAL, 0, 7), (SolverStatistics.SOLVED, 3, 7)]
    for number, (status, iterations, misses) in enumerate(late, start=1):
        message = SolverStatistics(status=status, iterations=iterations, deadline_misses=misses)
        message.header.stamp.sec = number
        record.hear('solver_statistics', message)
    assert record.deadlines == [(1.0, 0), (2.0, 1), (3.0, 1), (4.0, 1), (6.0, 0)]
    assert [tick.at_sec for tick in record.ticks] == [1.0, 6.0]


@pytest.mark.parametrize('late', ['skipped', 'missed'])
def test_what_is_late_counts_unless_the_controller_was_stopped(late):
    record, timer = recorded()
    if late == 'skipped':
        record.skipped = [(100.0, 200)]
    else:
        record.deadlines = [(at_sec, int(80 < at_sec < 100)) for at_sec, _ in record.deadlines]
    assert verdicts(record, timer)[MISSES] is False
    record.events.append(Event('long controller stall', 79.0, 101.0, 0.2))
    assert verdicts(record, timer)[MISSES] is True


@pytest.mark.parametrize('lost', ['all', 'the last minutes'])
def test_a_run_without_ticks_is_judged_too(lost):
    record, timer = recorded()
    until_sec = 0.0 if lost == 'all' else 720.0
    record.ticks = [tick for tick in record.ticks if tick.at_sec < until_sec]
    if lost == 'all':
        del record.commands_sec[:]
    broken = verdicts(record, timer)
    assert broken[DRIFT] is False and broken[EVERY_PERIOD] is (lost != 'all')


def test_a_pause_of_the_gate_is_found():
    record, timer = recorded()
    del record.commands_sec[1000:1006]
    assert verdicts(record, timer)[EVERY_PERIOD] is False


def test_one_wrong_command_is_enough():
    record, timer = recorded()
    record.problems = ['not finite']
    assert verdicts(record, timer)[SAFE] is False


@pytest.mark.parametrize(('mb_per_minute', 'kept'), [(0.2, True), (0.3, False)])
def test_memory_is_counted_from_the_first_minute_on(mb_per_minute, kept):
    record, timer = recorded()
    record.memory_kb['mpc_node'] = [
        (t, 300 * 1024 + int(1024 * (50 * min(t, 60) / 60 + mb_per_minute * t / 60)))
        for t in range(60 * MINUTES)
    ]
    assert verdicts(record, timer)[MEMORY] is kept


def test_a_drift_is_one_unless_the_timer_drifts_as_much():
    record, timer = recorded()
    late = 60 * (MINUTES - 5)
    record.ticks = [
        tick._replace(tick_sec=0.018) if tick.at_sec > late else tick for tick in record.ticks
    ]
    assert verdicts(record, timer)[DRIFT] is False
    timer = [(at_sec, sec + 0.004 * (at_sec > late)) for at_sec, sec in timer]
    assert verdicts(record, timer)[DRIFT] is True


def test_a_late_recovery_is_a_broken_promise_and_none_is_not_shown():
    record, timer = recorded()
    record.events = [event._replace(recovery_sec=5.1) for event in record.events]
    assert verdicts(record, timer)[READY:] == [False, False]
    record.events = [event._replace(recovery_sec=math.nan) for event in record.events]
    assert verdicts(record, timer)[READY:] == [None, None]
    record = replace(record, ended_sec=30.0, memory_kb={'mpc_node': [(0.0, 1), (30.0, 1)]})
    assert verdicts(record, timer)[MEMORY : DRIFT + 1] == [None, None]


def test_a_part_of_a_page_is_replaced_and_the_rest_stays(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('above\n<!-- begin a -->\nold\n<!-- end a -->\nbelow\n')
    write_part(page, 'a', 'new\n')
    assert page.read_text() == 'above\n<!-- begin a -->\nnew\n<!-- end a -->\nbelow\n'
    with pytest.raises(ConfigError, match='begin b'):
        write_part(page, 'b', 'new')


def test_the_bare_timer_keeps_its_rate_and_notes_how_late_it_was(tmp_path):
    file = tmp_path / 'timer.txt'
    began_sec = time.time()
    with bare_timer.running(0.02, file):
        while len(bare_timer.read(file)) < 20:
            assert time.time() < began_sec + 30.0
            time.sleep(0.05)
    lines = bare_timer.read(file)
    assert all(late_sec >= 0 for _, late_sec in lines)
    assert 0.02 * 19 - 1e-3 <= lines[19][0] - lines[0][0]


def is_running(pid):
    """Whether a process has not ended, reaped or not."""
    try:
        return open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def test_load_ends_with_its_parent(tmp_path):
    program = (
        'import os, time\nfrom grasp_ros.reliability import bare_timer\n'
        'with bare_timer.load(1):\n'
        '    print(*open(f"/proc/self/task/{os.getpid()}/children").read().split(), flush=True)\n'
        '    time.sleep(60)\n'
    )
    parent = subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True)
    (child,) = map(int, parent.stdout.readline().split())
    parent.kill()
    parent.wait()
    until_sec = time.monotonic() + 10.0
    while is_running(child):
        assert time.monotonic() < until_sec
        time.sleep(0.05)


def test_the_command_drives_disturbs_kills_and_judges(tmp_path):
    report, page = tmp_path / 'soak.json', tmp_path / 'page.md'
    page.write_text('<!-- begin soak -->\n<!-- end soak -->\n')
    code = 'from grasp_ros.reliability import soak; soak.command()'
    arguments = ['--minutes', '0.1', '--load', '1', '--seed', '3']
    files = ['--out', str(tmp_path), '--json', str(report), '--markdown', str(page)]
    done = subprocess.run(
        [sys.executable, '-c', code, *arguments, *files],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert report.is_file(), done.stdout + done.stderr
    numbers = json.loads(report.read_text())
    # How fast all this was is for the long run, on a machine of its own.
    assert not numbers['problems'], done.stdout
    assert done.returncode == any(bar['kept'] is False for bar in numbers['bars'])
    assert numbers['commands_checked'] > 100 and numbers['ticks'] > 10
    assert numbers['faults']['controller kill']['seen'] == 1
    assert len(numbers['faults']) > 1
    assert set(numbers['memory']) == {'sim_node', 'gate_node', 'mpc_node'}
    assert numbers['timer_wakeups'] > 10
    assert '`grasp-ros soak --minutes 0.1' in page.read_text()
    assert '| controller kill | 1 |' in page.read_text()
