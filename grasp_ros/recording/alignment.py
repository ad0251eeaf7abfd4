# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames and commands of a recording in control steps, by their stamps.

An episode is a row of frames one control period apart, and between two of them the mean of the
commands that were in force, as the controller's own history has it
(:mod:`grasp_ros.control.history`). It ends where no frame comes in time or nobody knows what the
robot was told. Where the camera is faster than the control period, the frames in between make
episodes of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST_FRAMES = 10  # of an episode; from less nothing is learned
_LEAST_IN_TIME = 0.9  # share of steps with a frame, below which the camera's rate is looked at
_FOLLOW = 0.1  # share of a frame's error that the grid follows, so that slow drift is no gap
_LOST = 1.5  # usual intervals between two frames, from which on frames count as lost


@dataclass(frozen=True)
class Episode:
    """A row of frames without a gap.

    :param frames: rows of its L frames among all frames, int64 ``[L]``
    :param actions: mean command between each frame and the next, float32 ``[L - 1, A]``
    """

    frames: np.ndarray
    actions: np.ndarray


@dataclass(frozen=True)
class Alignment:
    """What came of it.

    :param episodes: in the order of their first frames
    :param report: how well frames and commands fit, as JSON types
    """

    episodes: Sequence[Episode]
    report: Mapping[str, Any]


def align(
    frames_sec: np.ndarray,
    commands_sec: np.ndarray,
    commands: np.ndarray,
    *,
    period_sec: float,
    tolerance_sec: float,
    longest_hold_sec: float,
) -> Alignment:
    """Cut a recording into episodes.

    :param frames_sec: when each frame was taken, increasing, float64 ``[M]``
    :param commands_sec: when each command took effect, increasing, float64 ``[K]``
    :param commands: ``[K, A]``; each holds until the next one
    :param period_sec: control period
    :param tolerance_sec: how far a frame may be from where it should be
    :param longest_hold_sec: time after which a command that no other follows is not in force any
        more, as far as anybody knows
    """
    episodes, errors, missed, unknown, short = [], [], 0, 0, 0
    for row, off in _rows(frames_sec, period_sec, tolerance_sec):
        errors.append(off)
        missed += row[-1] < len(frames_sec) - 1 and (
            frames_sec[-1] - frames_sec[row[-1]] > period_sec + tolerance_sec
        )
        starts, ends = frames_sec[row[:-1]], frames_sec[row[1:]]
        known = is_known(commands_sec, starts, ends, longest_hold_sec=longest_hold_sec)
        unknown += int((~known).sum())
        for first, last in _runs(known):
            if last - first + 1 < LEAST_FRAMES:
                short += 1
                continue
            part = slice(first, last)
            actions = mean_in_force(commands_sec, commands, starts[part], ends[part])
            episodes.append(
                Episode(frames=row[first : last + 1], actions=actions.astype(np.float32))
            )
    episodes.sort(key=lambda episode: episode.frames[0])
    off = np.concatenate(errors) if errors else np.zeros(0)
    steps = sum(len(episode.actions) for episode in episodes)
    used = np.unique(np.concatenate([e.frames for e in episodes])) if episodes else np.zeros(0)
    ages = _ages(frames_sec, commands_sec)
    report = {
        'frames': len(frames_sec),
        'frames_used': len(used),
        **_intervals('camera', frames_sec),
        'commands': len(commands_sec),
        **_intervals('command', commands_sec),
        'steps': steps,
        'episodes': len(episodes),
        'episodes_too_short': short,
        'steps_with_a_frame_in_time': len(off) / max(1, len(off) + missed),
        'period_ms': 1e3 * period_sec,
        'tolerance_ms': 1e3 * tolerance_sec,
        'frame_off_ms': percentiles(1e3 * np.abs(off)),
        'steps_without_command': unknown,
        'command_age_ms': percentiles(1e3 * ages),
    }
    return Alignment(episodes, report)


def mean_in_force(
    stamps_sec: np.ndarray, commands: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Mean over time of the commands in force, ``[N, A]``, each holding until the next one.

    :param stamps_sec: increasing, ``[K]``
    :param commands: ``[K, A]``
    :param starts: of each interval, not before the first command, ``[N]``
    :param ends: after the starts, ``[N]``
    """
    held = np.diff(stamps_sec)[:, None] * commands[:-1]
    before = np.concatenate([np.zeros((1, commands.shape[1])), np.cumsum(held, axis=0)])

    def integral(times: np.ndarray) -> np.ndarray:
        row = np.searchsorted(stamps_sec, times, side='right') - 1
        return before[row] + (times - stamps_sec[row])[:, None] * commands[row]

    return (integral(ends) - integral(starts)) / (ends - starts)[:, None]


def is_known(
    stamps_sec: np.ndarray, starts: np.ndarray, ends: np.ndarray, *, longest_hold_sec: float
) -> np.ndarray:
    """Whether it is known all the time of each interval what the robot was told, bool ``[N]``.

    :param stamps_sec: of the commands, increasing, ``[K]``
    :param starts: of the intervals, ``[N]``
    :param ends: ``[N]``
    :param longest_hold_sec: for which a command counts
    """
    if not len(stamps_sec):
        return np.zeros(len(starts), dtype=bool)
    first = np.searchsorted(stamps_sec, starts, side='right') - 1
    last = np.searchsorted(stamps_sec, ends, side='left') - 1
    too_long = np.cumsum(np.append(0, np.diff(stamps_sec) > longest_hold_sec))
    known = (first >= 0) & (ends - stamps_sec[last] <= longest_hold_sec)
    return known & (too_long[last] == too_long[np.maximum(first, 0)])


def misfit_ms(report: Mapping[str, Any]) -> float | None:
    """How far frames are off at most where the camera's rate does not fit the control period.

    :param report: of :func:`align`
    :return: half the camera's interval, or None where the rate is not what steps fail by
    """
    rate_hz, period_ms = report['camera_rate_hz'], report['period_ms']
    if rate_hz is None or report['steps_with_a_frame_in_time'] >= _LEAST_IN_TIME:
        return None
    apart_ms = 1e3 / rate_hz
    if apart_ms > _LOST * period_ms:
        return None  # too slow for the period, whatever the tolerance
    drift_ms = abs(period_ms - max(1, round(period_ms / apart_ms)) * apart_ms)
    fits = drift_ms <= _FOLLOW * report['tolerance_ms'] or apart_ms / 2 <= report['tolerance_ms']
    return None if fits else apart_ms / 2


def percentiles(values: np.ndarray) -> dict[str, float] | None:
    """Median, 90th and 99th percentile and maximum; None without values."""
    if not len(values):
        return None
    shares = {'p50': 50, 'p90': 90, 'p99': 99, 'max': 100}
    return {name: float(np.percentile(values, share)) for name, share in shares.items()}


def _rows(frames_sec: np.ndarray, period_sec: float, tolerance_sec: float):
    """Rows of frames one period apart, and how far each but the first is from where it should be.

    Every frame is in one of them, or begins one.
    """
    is_taken = np.zeros(len(frames_sec), dtype=bool)
    for first in range(len(frames_sec)):
        if is_taken[first]:
            continue
        row, off, wanted_sec = [first], [], frames_sec[first]
        while True:
            wanted_sec += period_sec
            near = _nearest(frames_sec, wanted_sec)
            error_sec = frames_sec[near] - wanted_sec
            if near <= row[-1] or abs(error_sec) > tolerance_sec:
                break
            row.append(near)
            off.append(error_sec)
            wanted_sec += _FOLLOW * error_sec
        is_taken[row] = True
        yield np.array(row), np.array(off)


def _nearest(sorted_values: np.ndarray, value: float) -> int:
    after = int(np.searchsorted(sorted_values, value))
    if after == len(sorted_values):
        return after - 1
    is_before_nearer = after > 0 and (
        value - sorted_values[after - 1] <= sorted_values[after] - value
    )
    return after - 1 if is_before_nearer else after


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and one past the last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _intervals(name: str, stamps_sec: np.ndarray) -> dict[str, Any]:
    """Rate, how many are missing, and the longest gap."""
    apart = np.diff(stamps_sec)
    if not len(apart):
        return {f'{name}_rate_hz': None, f'{name}_gaps': 0, f'{name}_longest_gap_sec': None}
    usual = float(np.median(apart))
    return {
        f'{name}_rate_hz': 1 / usual if usual else None,
        f'{name}_gaps': int((apart > _LOST * usual).sum()),
        f'{name}_longest_gap_sec': float(apart.max()),
    }


def _ages(frames_sec: np.ndarray, commands_sec: np.ndarray) -> np.ndarray:
    """Age of the newest command at each frame after the first command, seconds."""
    row = np.searchsorted(commands_sec, frames_sec, side='right') - 1
    there = row >= 0
    return frames_sec[there] - commands_sec[row[there]] if there.any() else np.zeros(0)
