# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the last link before the robot lets through. Pure logic on floats: no ROS, no torch.

A command is a twist: linear x, y, z in m/s, angular x, y, z in rad/s. The gate starts disarmed.
While it is armed and commands keep coming it passes them, limited. Otherwise it stops the robot,
with a reason: the first one stays until all is well again. A fault that lasts too long, or another
controller than before, needs a new :meth:`Gate.enable`, so that nothing moves by itself because a
process came back.

A robot that executes trajectories by itself is told ahead of time what :meth:`Gate.step` would
give it (:mod:`grasp_ros.control.outlook`); the commands that a controller plans to send next may
be known for that (:meth:`Gate.extend`).
"""

from __future__ import annotations

import copy
import enum
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from grasp_ros.errors import ConfigError

Command = tuple[float, float, float, float, float, float]

STILL: Command = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_LONGEST_STEP_SEC = 0.1  # a stalled gate must not take a stall for time to accelerate in
_MOST_AHEAD = 1000  # entries of an outlook; a stop so slow that it takes more is cut short
_ROUNDING = 1e-9


class GateState(enum.Enum):
    """What the robot is sent; the value is the text for people."""

    DISARMED = 'safe command: not armed'
    PASSING = 'commands pass'
    STOPPED = 'safe command'
    DRY_RUN = 'safe command: dry run, commands would pass'


class GateReason(enum.Enum):
    """Why the safe command is sent; the value is the text for people."""

    NONE = ''
    NOT_ARMED = 'call the service `enable`'
    NO_COMMAND = 'no command has arrived yet'
    COMMAND_TIMEOUT = 'commands stopped coming'
    COMMAND_INVALID = 'the newest command was refused'
    REARM_NEEDED = 'a fault lasted too long: call the service `enable`'
    CONTROLLER_RESTARTED = 'another controller sends commands: call the service `enable`'
    SHUTDOWN = 'the gate is going down'


@dataclass(frozen=True)
class GateConfig:
    """Limits of :class:`Gate`.

    :param command_timeout_sec: age of the newest command above which the robot is stopped
    :param rearm_after_sec: duration of a fault above which a new ``enable`` is needed
    :param speed_scale: factor on every command, 0 to 1
    :param dry_run: check commands, but send the safe one
    :param max_linear: largest linear speed, m/s
    :param max_angular: largest angular speed, rad/s
    :param max_linear_acceleration: while passing, m/s^2; 0 = no limit
    :param max_angular_acceleration: while passing, rad/s^2; 0 = no limit
    :param linear_deceleration: of a stop, a command of zero included, m/s^2; 0 = at once
    :param angular_deceleration: the same, rad/s^2; 0 = at once
    :raises ConfigError: when a value is out of range
    """

    command_timeout_sec: float = 0.3
    rearm_after_sec: float = 2.0
    speed_scale: float = 1.0
    dry_run: bool = False
    max_linear: float = 0.5
    max_angular: float = 1.0
    max_linear_acceleration: float = 0.0
    max_angular_acceleration: float = 0.0
    linear_deceleration: float = 0.0
    angular_deceleration: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f'{name} must be finite and >= 0, is {value}')
        if self.command_timeout_sec == 0 or self.speed_scale > 1:
            raise ConfigError('command_timeout_sec must be positive, speed_scale at most 1')


@dataclass(frozen=True)
class GateOutput:
    """What is sent to the robot now, and why.

    :param command: finite and within the limits
    :param state: what the command is
    :param reason: why it is the safe one
    :param text: both in words
    :param command_age_sec: age of the newest accepted command; NaN without one
    """

    command: Command
    state: GateState
    reason: GateReason
    text: str
    command_age_sec: float


class Gate:
    """The last link before the robot.

    All times are on one steady clock unless said otherwise.

    :param config: limits; may be replaced at any time
    :param armed: whether commands may pass from the start
    """

    def __init__(self, config: GateConfig, *, armed: bool = False) -> None:
        self.config = config
        self.limited = 0
        self.rejected = 0
        self.timeouts = 0
        self._armed = armed
        self._latched = GateReason.NONE
        self._fault = GateReason.NONE
        self._fault_detail = ''
        self._fault_since_sec = 0.0
        self._has_begun = False  # good commands, since it was armed
        self._invalid = ''
        self._source: Hashable | None = None
        self._sequence: int | None = None
        self._command: Command | None = None
        self._command_is_counted = False
        self._later: tuple[Command, ...] = ()
        self._later_period_sec = 0.0
        self._sent_sec = 0.0  # when the newest accepted command was sent
        self._output = STILL
        self._output_sec: float | None = None

    def enable(self, on: bool) -> None:
        """Arm or disarm. Arming forgets old faults, the old controller and its last command."""
        self._armed = on
        if on:
            self._latched = self._fault = GateReason.NONE
            self._has_begun = False
            self._invalid = ''
            self._source = self._sequence = self._command = None

    def accept(
        self,
        command: Sequence[float],
        *,
        now_sec: float,
        age_sec: float,
        source: Hashable = None,
        sequence: int | None = None,
    ) -> str:
        """Take a command from a controller, or refuse it.

        :param command: six numbers, any
        :param now_sec: when it arrived
        :param age_sec: how long ago it was sent, by its stamp; NaN when it has none
        :param source: which publisher it came from; None where that is not known
        :param sequence: its number among the commands of its publisher, where known
        :return: why it was refused, empty when it was taken
        """
        is_foreign = self._watch_source(source, sequence)
        self._invalid = self._problem(command, age_sec)
        if is_foreign and not self._invalid:
            self._invalid = 'it comes from another publisher than the one before'
        if self._invalid:
            return self.refuse(self._invalid)
        self._command = tuple(float(value) for value in command)
        self._command_is_counted = False
        self._later = ()
        self._sent_sec = now_sec - max(age_sec, 0.0)
        return ''

    def refuse(self, problem: str) -> str:
        """Refuse a command, so that the robot is stopped until a good one comes.

        :param problem: why
        :return: the same
        """
        self._invalid = problem
        self.rejected += 1
        return problem

    def extend(self, later: Sequence[Sequence[float]], period_sec: float) -> str:
        """Take what is planned to follow the newest command, or refuse it and keep that alone.

        It makes no command younger: the command timeout counts from the one that was accepted.

        :param later: commands, one every period from a period after that one on
        :param period_sec: between two of them
        :return: why it was refused, empty when it was taken
        """
        problem = ''
        if self._command is None:
            problem = 'there is no command that it could follow'
        elif not (math.isfinite(period_sec) and period_sec > 0):
            problem = f'commands {period_sec} s apart'
        else:
            problem = next(filter(None, map(_malformed, later)), '')
        if problem:
            self.rejected += 1
            return problem
        self._later = tuple(tuple(float(value) for value in command) for command in later)
        self._later_period_sec = period_sec
        return ''

    def step(self, now_sec: float) -> GateOutput:
        """Decide what the robot is sent now; call it at a fixed rate and after each command."""
        fault = self._update_faults(now_sec)
        if not self._armed:
            state, reason = GateState.DISARMED, GateReason.NOT_ARMED
        elif fault is not GateReason.NONE:
            state, reason = GateState.STOPPED, fault
        else:
            state = GateState.DRY_RUN if self.config.dry_run else GateState.PASSING
            reason = GateReason.NONE
        passed = self._limited(now_sec) if reason is GateReason.NONE else STILL
        allowed = passed if state is GateState.PASSING else self._stopping(now_sec)
        self._output, self._output_sec = allowed, now_sec
        parts = [state.value, reason.value, self._fault_detail if reason is fault else '']
        return GateOutput(
            command=allowed,
            state=state,
            reason=reason,
            text=': '.join(part for part in parts if part),
            command_age_sec=math.nan if self._command is None else now_sec - self._sent_sec,
        )

    def ahead(self, present: Command, *, now_sec: float, period_sec: float) -> list[Command]:
        """What :meth:`step` will give from now on if nothing more comes, until the robot stands.

        Every entry has gone through the same limits, and the command timeout is in it: no motion
        is foreseen for longer than the newest command is good for, but for the stop.

        :param present: what the robot does now; the limits count from it
        :param period_sec: between two entries, the first of which is one period from now
        :return: at least one; the last is :data:`STILL`
        """
        gate = copy.copy(self)
        gate._output, gate._output_sec = present, now_sec
        commands = []
        for n in range(1, _MOST_AHEAD):
            commands.append(gate.step(now_sec + n * period_sec).command)
            if commands[-1] == STILL:
                return commands
        return [*commands, STILL]

    def shut_down(self) -> GateOutput:
        """The last output: zero velocity at once, for nobody will be there to ramp down."""
        self._armed = False
        self._output = STILL
        reason = GateReason.SHUTDOWN
        return GateOutput(STILL, GateState.STOPPED, reason, reason.value, math.nan)

    def _watch_source(self, source: Hashable, sequence: int | None) -> bool:
        """Whether an armed gate hears another publisher than before; then only arming helps."""
        known = self._source is not None or self._sequence is not None
        other = None not in (source, self._source) and source != self._source
        if sequence is not None and self._sequence is not None:
            other = other or sequence <= self._sequence
        is_foreign = known and other and self._armed
        if is_foreign and not self._has_latched():
            self._latched, self._fault_detail = GateReason.CONTROLLER_RESTARTED, ''
        if source is not None:
            self._source = source
        if sequence is not None:
            self._sequence = sequence
        return is_foreign

    def _has_latched(self) -> bool:
        return self._latched is not GateReason.NONE

    def _problem(self, command: Sequence[float], age_sec: float) -> str:
        timeout_sec = self.config.command_timeout_sec
        if problem := _malformed(command):
            return problem
        if math.isnan(age_sec):
            return 'its stamp is zero'
        if age_sec > timeout_sec:
            return f'it was sent {age_sec:.3f} s ago, more than {timeout_sec} s'
        if age_sec < -timeout_sec:
            return f'its stamp lies {-age_sec:.3f} s in the future'
        return ''

    def _update_faults(self, now_sec: float) -> GateReason:
        """Present fault; the first one stays, and is latched when it lasts too long.

        Before the first good command since it was armed there is no such fault: nothing has moved
        yet. It says what is wrong with those that come.
        """
        if not self._armed:
            self._fault, self._fault_detail = GateReason.NONE, ''
            return GateReason.NONE
        if self._has_latched():
            return self._latched
        present, detail = self._present_fault(now_sec)
        self._has_begun |= present in (GateReason.NONE, GateReason.COMMAND_TIMEOUT)
        if present is GateReason.NONE:
            self._fault, self._fault_detail = present, ''
        elif not self._has_begun:
            self._fault, self._fault_detail, self._fault_since_sec = present, detail, now_sec
        elif self._fault is GateReason.NONE:
            self._fault, self._fault_detail, self._fault_since_sec = present, detail, now_sec
            self.timeouts += present is GateReason.COMMAND_TIMEOUT
        lasted_sec = now_sec - self._fault_since_sec
        is_fault = self._fault is not GateReason.NONE and self._has_begun
        if is_fault and lasted_sec >= self.config.rearm_after_sec:
            self._latched = GateReason.REARM_NEEDED
            self._fault_detail = f'it began with: {self._fault.value}'
            return self._latched
        return self._fault

    def _present_fault(self, now_sec: float) -> tuple[GateReason, str]:
        if self._invalid:
            return GateReason.COMMAND_INVALID, self._invalid
        if self._command is None:
            return GateReason.NO_COMMAND, ''
        if now_sec - self._sent_sec > self.config.command_timeout_sec:
            return GateReason.COMMAND_TIMEOUT, ''
        return GateReason.NONE, ''

    def _limited(self, now_sec: float) -> Command:
        """The command of now after speed scale, speed limits and acceleration limits."""
        config = self.config
        wanted = tuple(config.speed_scale * value for value in self._wanted(now_sec))
        if wanted == STILL:
            # So the controller stops the robot too, and as fast as the gate itself would.
            return self._stopping(now_sec)
        allowed = (
            *self._passed(wanted[:3], self._output[:3], config.max_linear,
                          config.max_linear_acceleration, now_sec),
            *self._passed(wanted[3:], self._output[3:], config.max_angular,
                          config.max_angular_acceleration, now_sec),
        )  # fmt: skip
        if not self._command_is_counted and any(
            abs(a - b) > _ROUNDING for a, b in zip(allowed, wanted, strict=True)
        ):
            self._command_is_counted = True
            self.limited += 1
        return allowed

    def _passed(
        self, wanted: Sequence[float], present: Sequence[float], longest: float, rate: float,
        now_sec: float,
    ) -> tuple[float, ...]:  # fmt: skip
        """Towards what is wanted, and within a limit that was lowered at once."""
        reached = self._approach(_shortened(wanted, longest), present, rate, now_sec)
        return _shortened(reached, longest)

    def _wanted(self, now_sec: float) -> Command:
        """The newest command, or that of those planned after it whose time it is."""
        if not self._later:
            return self._command
        elapsed = int(max(now_sec - self._sent_sec, 0.0) / self._later_period_sec)
        return (self._command, *self._later)[min(elapsed, len(self._later))]

    def _stopping(self, now_sec: float) -> Command:
        config = self.config
        still = STILL[:3]
        linear = self._approach(still, self._output[:3], config.linear_deceleration, now_sec)
        angular = self._approach(still, self._output[3:], config.angular_deceleration, now_sec)
        return (*linear, *angular)

    def _approach(
        self, wanted: Sequence[float], present: Sequence[float], rate: float, now_sec: float
    ) -> tuple[float, ...]:
        """Go from ``present`` towards ``wanted``, at most ``rate`` per second; 0 = at once."""
        if rate == 0:
            return tuple(wanted)
        since_sec = now_sec if self._output_sec is None else self._output_sec
        elapsed_sec = min(max(now_sec - since_sec, 0.0), _LONGEST_STEP_SEC)
        change = tuple(w - p for w, p in zip(wanted, present, strict=True))
        change = _shortened(change, rate * elapsed_sec)
        return tuple(p + c for p, c in zip(present, change, strict=True))


def _malformed(command: Sequence[float]) -> str:
    if len(command) != 6 or not all(math.isfinite(value) for value in command):
        return f'{list(command)} is not finite'
    return ''


def _shortened(vector: Sequence[float], longest: float) -> tuple[float, ...]:
    """The vector, shortened to a length where it is longer; its direction is kept."""
    length = math.hypot(*vector)
    if length <= longest:
        return tuple(vector)
    return tuple(value / length * longest for value in vector)
