# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the nodes say of their own health: the judgement alone, and as it arrives over DDS."""

import math
import signal
from collections import Counter, defaultdict
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
from diagnostic_msgs.msg import DiagnosticArray
from grasp_ros.msg import SolverStatistics
from lifecycle_msgs.msg import Transition

from grasp_ros.control.gate import Gate, GateConfig
from grasp_ros.control.tick import COLD, Tick, TickStatus
from grasp_ros.control.warm_start import Drop
from grasp_ros.node import controller_health
from grasp_ros.node.controller_health import ControllerHealth
from grasp_ros.node.diagnostics import PERIOD_SEC
from grasp_ros.node.health import HOLD_SEC, CameraHealth, Health, Held, Level, of_gate
from grasp_ros.node.worker import Counters, TickReport
from grasp_ros.reliability.rig import Rig, open_client
from grasp_ros.world_models.checkpoint import load_card

pytestmark = pytest.mark.processes

OK, WARN, ERROR = Level.OK, Level.WARN, Level.ERROR
TIMEOUT_SEC = 0.5


def judged(camera, now_sec, refusal=''):
    """State and level of a camera, both clocks at the same time."""
    health = camera.judge(
        now_sec=now_sec, ros_sec=now_sec, timeout_sec=TIMEOUT_SEC, refused=0, refusal=refusal
    )
    return health.values['state'], health.level


def seen(rate_hz, *, until_sec=10.0, needed_hz=10.0):
    """A camera of a rate, up to a time."""
    camera = CameraHealth(needed_hz, now_sec=0.0)
    for n in reversed(range(12)):
        camera.receive(until_sec - n / rate_hz)
    return camera


@pytest.mark.parametrize(
    ('rate_hz', 'state'),
    [
        (30.0, ('OK', OK)),
        (10.0, ('OK', OK)),
        (8.0, ('WarnRate', WARN)),
        (4.0, ('ErrorRate', ERROR)),
    ],
)
def test_a_camera_is_as_good_as_its_rate(rate_hz, state):
    assert judged(seen(rate_hz), 10.0) == state


def test_a_camera_that_never_spoke_is_told_from_one_that_fell_silent():
    camera = CameraHealth(10.0, now_sec=5.0)
    assert judged(camera, 5.1) == ('OK', OK)  # it may still come
    assert judged(camera, 5.0 + TIMEOUT_SEC + 0.1) == ('NotReceived', ERROR)
    assert judged(seen(30.0), 10.0 + TIMEOUT_SEC + 0.1) == ('Timeout', ERROR)


def test_a_simulation_that_pauses_is_no_fault_of_the_camera():
    health = seen(30.0).judge(
        now_sec=100.0, ros_sec=10.0, timeout_sec=TIMEOUT_SEC, refused=0, refusal=''
    )
    assert (health.values['state'], health.level) == ('OK', OK)


def test_a_clock_that_jumped_back_starts_the_rate_anew():
    camera = seen(30.0)
    for n in range(4):
        camera.receive(1.0 + n / 30)
    assert judged(camera, 1.1) == ('OK', OK)
    assert math.isclose(
        camera.judge(now_sec=1.1, ros_sec=1.1, timeout_sec=0.5, refused=0, refusal='').values[
            'rate_hz'
        ],
        30.0,
    )


def test_the_reason_for_refused_images_is_told():
    camera = CameraHealth(10.0, now_sec=0.0)
    health = camera.judge(
        now_sec=1.0, ros_sec=1.0, timeout_sec=0.5, refused=7, refusal='encoding "yuv422"'
    )
    assert 'yuv422' in health.text and health.values['images_refused'] == 7


def test_a_level_rises_at_once_and_falls_when_it_has_been_better_for_a_while():
    held = Held()
    bad = Health(ERROR, 'broken', {'n': 1})
    good = Health(OK, 'fine', {'n': 2})
    assert held.update(good, 0.0).level is OK
    assert held.update(bad, 0.1) == bad
    assert held.update(good, 0.2) == Health(ERROR, 'broken', {'n': 2})
    assert held.update(replace(bad, level=WARN), 0.3).level is ERROR
    assert held.update(good, 0.1 + HOLD_SEC) == good


def test_a_gate_that_was_stopped_by_a_fault_is_an_error_with_the_reason():
    gate = Gate(GateConfig())

    def health(now_sec):
        return of_gate(gate, gate.step(now_sec))

    assert (health(0.0).level, health(0.0).values['reason']) == (WARN, 'NOT_ARMED')
    gate.enable(True)
    assert health(0.1).level is WARN  # nothing was ever sent
    gate.accept((0.1, 0, 0, 0, 0, 0), now_sec=0.2, age_sec=0.0)
    assert health(0.2).level is OK
    stopped = health(1.0)
    assert stopped.level is ERROR and stopped.values['reason'] == 'COMMAND_TIMEOUT'
    assert 'commands stopped coming' in stopped.text and stopped.values['command_timeouts'] == 1


@pytest.fixture
def clock(monkeypatch):
    """A steady clock for the controller's health."""
    clock = SimpleNamespace(now_sec=0.0)
    monkeypatch.setattr(
        controller_health, 'time', SimpleNamespace(monotonic=lambda: clock.now_sec)
    )
    return clock


class Ticks:
    """A controller's health that is told of ticks, ten a second."""

    def __init__(self, clock):
        self.clock = clock
        camera = SimpleNamespace(rejected=0, reason='')
        self.health = ControllerHealth(load_card('two_rooms'), camera)
        self.settings = SimpleNamespace(
            planner_name='grasp',
            controller=SimpleNamespace(deadline_sec=0.06, warm_start='full'),
        )
        self.count = self.skipped = 0
        self.drops = Counter()

    def tick(self, status=TickStatus.SOLVED, *, skipped=0, goal=1, **changes):
        self.clock.now_sec += 0.1
        self.count += 1
        self.skipped += skipped
        tick = Tick(action=np.zeros(2), status=status, **{'shift_steps': 1} | changes)
        if tick.dropped is not None:
            self.drops[tick.dropped] += 1
        counters = Counters(
            ticks=self.count, ticks_skipped=self.skipped, drops=dict(self.drops)
        )
        report = TickReport(
            tick=tick,
            started_sec=self.clock.now_sec,
            image_age_sec=0.0,
            arrival=None,
            goal_number=goal,
            goal_reached=False,
            settings=self.settings,
            counters=counters,
        )
        self.health.send(report)

    def judge(self, part):
        return self.health.judge(ros_sec=self.clock.now_sec, timeout_sec=TIMEOUT_SEC)[part]


def test_misses_warn_then_are_an_error_and_are_forgotten_in_time(clock):
    ticks = Ticks(clock)
    levels = []
    for _ in range(controller_health.ERROR_MISSES):
        ticks.tick(deadline_met=False)
        levels.append(ticks.judge('deadline').level)
    assert levels == [OK, *[WARN] * 8, ERROR]
    assert ticks.judge('deadline').values['missed_percent'] == 100.0
    levels = []
    for _ in range(controller_health.WINDOW_TICKS):
        ticks.tick()
        levels.append(ticks.judge('deadline').level)
    # No to and fro, as the misses leave the window one by one.
    assert levels == sorted(levels, reverse=True) and set(levels) == {ERROR, WARN, OK}
    ticks.tick(deadline_met=False)
    assert ticks.judge('deadline').level is OK


def test_a_count_that_goes_to_and_fro_is_told_once(clock):
    ticks = Ticks(clock)
    levels = []
    for n in range(4 * controller_health.WINDOW_TICKS):
        ticks.tick(deadline_met=n % 10 != 0 or n % 100 == 0 and n % 200 != 0)
        levels.append(ticks.judge('deadline').level)
    counts = [levels[n] for n in range(1, len(levels)) if levels[n] is not levels[n - 1]]
    assert counts == [WARN, ERROR]


def test_a_stall_counts_as_the_ticks_that_it_cost(clock):
    ticks = Ticks(clock)
    ticks.tick()
    ticks.tick(skipped=3)
    health = ticks.judge('deadline')
    assert health.level is WARN and '3 were left out' in health.text
    ticks.tick(skipped=7)
    assert ticks.judge('deadline').level is ERROR


@pytest.mark.parametrize('status', list(TickStatus))
def test_a_stop_that_nobody_asked_for_is_an_error_with_the_reason(clock, status):
    ticks = Ticks(clock)
    ticks.tick(status, detail='because')
    health = ticks.judge('solver')
    expected = dict.fromkeys((TickStatus.SOLVED, TickStatus.IN_BLOCK, TickStatus.NO_GOAL), OK)
    expected |= dict.fromkeys((TickStatus.PREVIOUS_PLAN, TickStatus.CLOCK_STANDS), WARN)
    assert health.level is expected.get(status, ERROR)
    assert status.value in health.text and 'because' in health.text
    for _ in range(11):
        ticks.tick()
    assert ticks.judge('solver').level is OK


def test_a_solver_that_does_not_return_is_an_error(clock):
    ticks = Ticks(clock)
    ticks.tick()
    clock.now_sec += 1.5
    assert ticks.judge('solver').level is ERROR
    assert 'does not return' in ticks.judge('solver').text
    ticks.tick()
    assert ticks.judge('solver').level is OK


def test_warm_starts_that_are_lost_on_the_way_are_a_warning_with_the_reason(clock):
    ticks = Ticks(clock)
    for goal in range(10):
        ticks.tick(goal=goal, shift_steps=COLD, dropped=Drop.GOAL)
        ticks.tick(goal=goal)
    health = ticks.judge('warm start')
    assert (health.level, health.values['used_percent']) == (OK, 50.0)  # as it has to be
    for _ in range(controller_health.WARN_LOST):
        ticks.tick(goal=9, shift_steps=COLD, dropped=Drop.INNOVATION)
    health = ticks.judge('warm start')
    assert health.level is WARN and Drop.INNOVATION.value in health.text
    assert health.values['dropped_innovation'] == controller_health.WARN_LOST
    assert health.values['dropped_goal'] == 10


class Watcher:
    """What is said on /diagnostics."""

    def __init__(self, rig):
        self.rig = rig
        self.heard = []
        self.stamps_sec = defaultdict(list)
        rig.client.create_subscription(DiagnosticArray, '/diagnostics', self._on_array, 50)

    def _on_array(self, array):
        self.heard += array.status
        node = array.status[0].name.partition(':')[0]
        self.stamps_sec[node].append(array.header.stamp.sec + 1e-9 * array.header.stamp.nanosec)

    def wait_for(self, node, part, level, text=''):
        """The next status of a part with a level."""
        name = f'{self.rig.namespace}/{node}: {part}'
        self.heard.clear()

        def found():
            return next(
                (
                    status
                    for status in self.heard
                    if status.name == name
                    and status.level == bytes([level])
                    and text in status.message
                ),
                None,
            )

        return self.rig.wait_for(found, f'{name} at {level.name} {text}')


@pytest.fixture(scope='module')
def robot(tmp_path_factory):
    pytest.importorskip('mujoco', reason='no embedded world: pip install .[sim]')
    with open_client() as client:
        rig = Rig(client, '/told', tmp_path_factory.mktemp('told'))
        watcher = Watcher(rig)
        try:
            rig.start('gate_node', gate__start_enabled=True)
            rig.start('mpc_node', autostart=False, model__path='/no/such/model')
            yield rig, watcher
        finally:
            rig.close()


def values(status):
    return {entry.key: entry.value for entry in status.values}


def test_from_the_first_start_to_a_camera_that_stops_and_returns(robot):
    rig, told = robot
    told.wait_for('gate_node', 'gate', WARN, 'no command has arrived')
    assert not rig.change_state(Transition.TRANSITION_CONFIGURE)
    status = told.wait_for('mpc_node', 'model', ERROR)
    assert 'no checkpoint at "/no/such/model"' in status.message
    assert rig.set_parameters(model__path='two_rooms') == ['']
    assert rig.change_state(Transition.TRANSITION_CONFIGURE)
    status = told.wait_for('mpc_node', 'model', OK, 'ready')
    assert values(status)['name'] == 'two_rooms'
    assert values(status)['control_rate_hz'] == '10'
    told.wait_for('mpc_node', 'camera', OK, 'not active')
    assert rig.change_state(Transition.TRANSITION_ACTIVATE)

    told.wait_for('mpc_node', 'camera', ERROR, 'NotReceived')
    told.wait_for('mpc_node', 'solver', ERROR, 'no image')

    rig.start('sim_node')
    told.wait_for('mpc_node', 'camera', OK, 'Hz')
    told.wait_for('mpc_node', 'solver', OK, 'no goal')
    told.wait_for('gate_node', 'gate', OK, 'commands pass')

    rig.wait_for_status(SolverStatistics.NO_GOAL)
    rig.processes['sim_node'].send_signal(signal.SIGSTOP)
    try:
        status = told.wait_for('mpc_node', 'camera', ERROR, 'Timeout')
        assert float(values(status)['image_age_sec']) > TIMEOUT_SEC
        told.wait_for('mpc_node', 'solver', ERROR, 'too old')
    finally:
        rig.processes['sim_node'].send_signal(signal.SIGCONT)
    told.wait_for('mpc_node', 'camera', OK)
    told.wait_for('mpc_node', 'solver', OK)
    # Changes are told at once, not with what is told once a second anyway.
    assert min(np.diff(told.stamps_sec['/told/mpc_node'])) < 0.9 * PERIOD_SEC
    log = rig.processes['mpc_node'].log_text()
    assert log.count('camera: Timeout') == 1  # on the edge, not at every look


def test_a_controller_that_is_killed_is_told_by_the_gate(robot):
    rig, told = robot
    rig.processes['mpc_node'].kill()
    status = told.wait_for('gate_node', 'gate', ERROR, 'commands stopped coming')
    assert values(status)['reason'] == 'COMMAND_TIMEOUT'
