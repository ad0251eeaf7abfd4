# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What came of a soak: numbers, a verdict for each bar, and both as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grasp_ros.reliability.soak_record import Event, Record, TickTimes

MISSES_PERCENT, MISSES_RATIO = 1.0, 2.0  # of ticks; of the bare timer's own late wake-ups
MEMORY_MB = 5.0
DRIFT = 0.10  # of the p99 of the first minutes
DRIFT_MINUTES = 5.0
READY_SEC = 5.0
CAMERA_PERIODS = 2
SETTLED_SEC = 60.0  # after which memory must not grow
_AVERAGE_SEC = 10.0  # over which memory is read
STALLS = ('controller stall', 'long controller stall')  # in which no tick can keep its time


@dataclass(frozen=True)
class Bar:
    """A promise of the product and whether it was kept.

    :param promise: in words
    :param measured: with its numbers
    :param kept: None where this run does not show it
    """

    promise: str
    measured: str
    kept: bool | None


def summary(
    record: Record, timer: Sequence[tuple[float, float]], *, period_sec: float, deadline_sec: float
) -> dict[str, Any]:
    """The numbers of a run, in plain JSON types; times in ms and s as their names say.

    :param timer: of the bare timer: when due, ROS time, and how late; s
    :param period_sec: control period
    :param deadline_sec: for encode and solve
    """
    ticks = [t for t in record.ticks if record.started_sec <= t.at_sec <= record.ended_sec]
    counted = [t for t in ticks if not _during(record.events, t.at_sec, STALLS)]
    skipped = sum(
        periods
        for at_sec, periods in record.skipped
        if at_sec <= record.ended_sec and not _during(record.events, at_sec, STALLS)
    )
    deadlines = [
        missed
        for at_sec, missed in record.deadlines
        if record.started_sec <= at_sec <= record.ended_sec
        and not _during(record.events, at_sec, STALLS)
    ]
    missed = sum(deadlines)
    late = [(a, late) for a, late in timer if record.started_sec <= a <= record.ended_sec]
    # Without a tick there is none of it, and the timer is never too late for one.
    slack_sec = deadline_sec - float(np.median([t.busy_sec for t in counted] or [-math.inf]))
    gaps_sec = np.diff(np.sort(np.array(record.commands_sec)))
    kinds = sorted({event.kind for event in record.events})
    return {
        'seconds': record.ended_sec - record.started_sec,
        'goals': {str(code): count for code, count in sorted(record.goals.items())},
        'ticks': len(deadlines),
        'missed': missed,
        'skipped': skipped,
        'missed_percent': _percent(missed + skipped, len(deadlines) + skipped),
        'timer_wakeups': len(late),
        'timer_slack_ms': 1e3 * slack_sec if counted else None,
        'timer_late_percent': _percent(sum(sec > slack_sec for _, sec in late), len(late)),
        'tick_ms': _spread([t.tick_sec for t in counted]),
        'image_to_action_ms': _spread([t.image_to_action_sec for t in counted]),
        'gate_period_ms': _spread(gaps_sec),
        'timer_late_ms': _spread([sec for _, sec in late]),
        'periods_without_command': int(np.floor(gaps_sec / period_sec).sum()),
        'commands': len(record.commands_sec),
        'commands_checked': record.commands_checked,
        'problems': record.problems,
        'drift': _drift(record, ticks, late),
        'memory': {node: _memory(samples) for node, samples in record.memory_kb.items()},
        'faults': {kind: _recoveries(record.events, kind) for kind in kinds},
    }


def bars(numbers: dict[str, Any], *, period_sec: float) -> list[Bar]:
    """A verdict for each promise.

    :param numbers: from :func:`summary`
    :param period_sec: control period
    """
    percent, late_percent = numbers['missed_percent'], numbers['timer_late_percent']
    found = [
        Bar(
            f'at most {MISSES_PERCENT:g} % of the deadlines missed, or no more than '
            f"{MISSES_RATIO:g} times the bare timer's late wake-ups",
            f'{percent:.2f} % ({numbers["missed"]} missed, {numbers["skipped"]} left out of '
            f'{numbers["ticks"]}); bare timer {late_percent:.2f} % later than '
            f'{_or_dash(numbers["timer_slack_ms"], 0)} ms, the slack of a tick',
            numbers['ticks'] > 0 and percent <= max(MISSES_PERCENT, MISSES_RATIO * late_percent),
        ),
        Bar(
            'a command leaves the gate in every control period',
            f'{numbers["periods_without_command"]} periods without, among {numbers["commands"]} '
            f'commands; longest pause {_or_dash(numbers["gate_period_ms"]["max"], 0)} ms',
            numbers['periods_without_command'] == 0 and numbers['commands'] > 1,
        ),
        Bar(
            'no command that is not finite, out of bounds, of an old goal or sent while disarmed; '
            'no fault without its recovery, no motion before a re-arm',
            f'{len(numbers["problems"])} problems, {numbers["commands_checked"]} commands checked',
            not numbers['problems'] and numbers['commands_checked'] > 0,
        ),
        _memory_bar(numbers['memory']),
        _drift_bar(numbers['drift']),
    ]
    for kind, promise, limit_sec in (
        ('controller kill', f'ready again at most {READY_SEC:g} s after SIGKILL', READY_SEC),
        (
            'camera stall',
            f'after a short outage of the camera moving again within {CAMERA_PERIODS} periods of '
            'the first good frame',
            CAMERA_PERIODS * period_sec,
        ),
    ):
        times = numbers['faults'].get(kind, {'seen': 0})
        kept, measured = None, 'not tried'
        if times['seen']:
            kept = times['max_sec'] <= limit_sec
            measured = (
                f'{times["seen"]} times, median {times["median_sec"]:.3f} s, longest '
                f'{times["max_sec"]:.3f} s'
            )
        found.append(Bar(promise, measured, kept))
    return found


def markdown(numbers: dict[str, Any], verdicts: Sequence[Bar], *, heading: str) -> str:
    """The run as a section of a page.

    :param heading: command, machine and commit
    """
    words = {True: 'kept', False: '**broken**', None: 'not shown by this run'}
    lines = [heading, '', '| promise | measured | |', '|---|---|---|']
    lines += [f'| {bar.promise} | {bar.measured} | {words[bar.kept]} |' for bar in verdicts]
    lines += ['', '| | p50 | p99 | max |', '|---|---|---|---|']
    for name, label in (
        ('tick_ms', 'tick with a new plan, ms'),
        ('image_to_action_ms', 'image to action, with a new plan, ms'),
        ('gate_period_ms', 'between two commands of the gate, ms'),
        ('timer_late_ms', 'bare timer, late by, ms'),
    ):
        cells = (_or_dash(numbers[name][key]) for key in ('p50', 'p99', 'max'))
        lines.append(f'| {label} | ' + ' | '.join(cells) + ' |')
    lines += ['', '| process | after a minute, MB | at the end, MB | growth, MB | slope, MB/h |',
              '|---|---|---|---|---|']
    for node, memory in numbers['memory'].items():
        cells = (memory[key] for key in ('settled_mb', 'end_mb', 'growth_mb', 'slope_mb_per_h'))
        lines.append(f'| `{node}` | ' + ' | '.join(_or_dash(cell) for cell in cells) + ' |')
    if numbers['faults']:
        lines += ['', '| fault | times | recovery, median s | longest s |', '|---|---|---|---|']
        for kind, times in numbers['faults'].items():
            lines.append(f'| {kind} | {times["times"]} | {_or_dash(times["median_sec"], 3)} | '
                         f'{_or_dash(times["max_sec"], 3)} |')
    if numbers['problems']:
        lines += ['', *(f'- {problem}' for problem in numbers['problems'])]
    return '\n'.join(lines)


def _memory_bar(memory: dict[str, dict[str, float | None]]) -> Bar:
    promise = f'memory grows by at most {MEMORY_MB:g} MB after the first minute'
    growths = {node: values['growth_mb'] for node, values in memory.items()}
    known = {node: growth for node, growth in growths.items() if growth is not None}
    if not known:
        return Bar(promise, 'too short', None)
    text = ', '.join(f'{node} {growth:+.1f} MB' for node, growth in known.items())
    return Bar(promise, text, max(known.values()) <= MEMORY_MB)


def _drift_bar(drift: dict[str, dict[str, float]] | None) -> Bar:
    promise = (
        f'p99 of the last {DRIFT_MINUTES:g} minutes within {DRIFT:.0%} of the first '
        f'{DRIFT_MINUTES:g}, or no more than the bare timer drifts'
    )
    if drift is None:
        return Bar(promise, 'too short', None)
    missing = [name for name, values in drift.items() if None in values.values()]
    if missing:
        return Bar(promise, f'nothing to compare of {", ".join(missing)}', False)
    timer = drift['timer_late_ms']
    kept, parts = True, []
    for name in ('tick_ms', 'image_to_action_ms'):
        first, last = drift[name]['first'], drift[name]['last']
        kept &= last <= (1 + DRIFT) * first or last - first <= timer['last'] - timer['first']
        parts.append(f'{name.removesuffix("_ms").replace("_", " ")} {first:.1f} → {last:.1f} ms')
    parts.append(f'bare timer {timer["first"]:.1f} → {timer["last"]:.1f} ms')
    return Bar(promise, ', '.join(parts), kept)


def _drift(
    record: Record, ticks: Sequence[TickTimes], late: Sequence[tuple[float, float]]
) -> dict[str, dict[str, float]] | None:
    """p99 of the first and of the last minutes, without the ticks under a fault."""
    window_sec = 60.0 * DRIFT_MINUTES
    if record.ended_sec - record.started_sec < 2 * window_sec:
        return None
    calm = [tick for tick in ticks if not _during(record.events, tick.at_sec)]
    first_sec, last_sec = record.started_sec + window_sec, record.ended_sec - window_sec
    series = {
        'tick_ms': [(tick.at_sec, tick.tick_sec) for tick in calm],
        'image_to_action_ms': [(tick.at_sec, tick.image_to_action_sec) for tick in calm],
        'timer_late_ms': late,
    }
    return {
        name: {
            'first': _spread([value for at_sec, value in values if at_sec < first_sec])['p99'],
            'last': _spread([value for at_sec, value in values if at_sec > last_sec])['p99'],
        }
        for name, values in series.items()
    }


def _memory(samples: Sequence[tuple[float, int]]) -> dict[str, float | None]:
    """Resident memory of one process, MB; growth and slope from the end of the first minute on."""
    at_sec, mb = np.array([(at, kb / 1024) for at, kb in samples], dtype=float).T
    at_sec = at_sec - at_sec[0]
    end_mb = float(np.median(mb[at_sec > at_sec[-1] - _AVERAGE_SEC]))
    if at_sec[-1] < SETTLED_SEC + 2 * _AVERAGE_SEC:
        return {'settled_mb': None, 'end_mb': end_mb, 'growth_mb': None, 'slope_mb_per_h': None}
    is_settled = at_sec >= SETTLED_SEC
    is_first = is_settled & (at_sec < SETTLED_SEC + _AVERAGE_SEC)
    settled_mb = float(np.median(mb[is_first]))
    slope = np.polyfit(at_sec[is_settled] / 3600, mb[is_settled], 1)[0]
    return {
        'settled_mb': settled_mb,
        'end_mb': end_mb,
        'growth_mb': end_mb - settled_mb,
        'slope_mb_per_h': float(slope),
    }


def _recoveries(events: Sequence[Event], kind: str) -> dict[str, Any]:
    times = [event.recovery_sec for event in events if event.kind == kind]
    seen = [sec for sec in times if not math.isnan(sec)]
    return {
        'times': len(times),
        'seen': len(seen),
        'median_sec': float(np.median(seen)) if seen else None,
        'max_sec': max(seen, default=None),
    }


def _during(events: Sequence[Event], at_sec: float, kinds: Sequence[str] = ()) -> bool:
    """Whether a fault was under way, of some kinds or of any."""
    return any(
        event.start_sec <= at_sec <= event.end_sec
        for event in events
        if not kinds or event.kind in kinds
    )


def _spread(values_sec: Sequence[float]) -> dict[str, float | None]:
    """Percentiles in ms; None without values, as JSON knows no NaN."""
    if not len(values_sec):
        return {'p50': None, 'p99': None, 'max': None}
    ms = 1e3 * np.asarray(values_sec)
    return {
        'p50': float(np.percentile(ms, 50)),
        'p99': float(np.percentile(ms, 99)),
        'max': float(ms.max()),
    }


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0


def _or_dash(value: float | None, digits: int = 1) -> str:
    return '–' if value is None else f'{value:.{digits}f}'
