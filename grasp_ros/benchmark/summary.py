# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers from episodes: rates with intervals, times, and who is ahead of whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grasp_ros.training.statistics import bootstrap, mcnemar, percentiles, rate

Episodes = Mapping[str, Sequence[Mapping[str, Any]]]  # training seed -> episodes, by number


def rate_of(episodes: Episodes, outcome: str) -> dict[str, Any]:
    """Rate of an outcome and its 95 % interval, bootstrap over training seeds and episodes.

    Where all episodes ended alike the bootstrap has nothing to draw from; there it is Wilson's.
    """
    groups = [[float(e[outcome]) for e in lines] for lines in episodes.values() if lines]
    flat = [value for group in groups for value in group]
    if min(flat) == max(flat):
        return rate([bool(value) for value in flat])
    return {'rate': float(np.mean([np.mean(group) for group in groups])),
            'ci95': list(bootstrap(groups))}


def summary(episodes: Episodes) -> dict[str, Any]:
    """Scores and times of one planner on one task at one deadline."""
    flat = [episode for lines in episodes.values() for episode in lines]
    ratios = [e['path_ratio'] for e in flat if e['reached']]
    times = {
        name: [ms for e in flat for ms in e['ms'][name]] for name in ('cpu', 'wall', 'prepare_cpu')
    }
    ticks = [after + before for after, before in zip(times['cpu'], times['prepare_cpu'])]
    return {
        'episodes': len(flat),
        'reached': rate_of(episodes, 'reached'),
        'held': rate_of(episodes, 'held'),
        'path_ratio': float(np.mean(ratios)) if ratios else None,
        'image_to_action_cpu_ms': percentiles(times['cpu']),
        'image_to_action_wall_ms': percentiles(times['wall']),
        'tick_cpu_ms': percentiles(ticks),
        'lost_frames': sum(e['lost_frames'] for e in flat),
    }


def pairs(
    first: Episodes, second: Episodes, value: Callable[[Mapping[str, Any]], float]
) -> list[list[tuple[float, float]]]:
    """Values of the episodes that both drove, by training seed."""
    found = []
    for seed, lines in first.items():
        others = {line['index']: line for line in second.get(seed, ())}
        both = [
            (value(line), value(others[line['index']])) for line in lines
            if line['index'] in others
        ]
        if both:
            found.append(both)
    return found


def difference(
    first: Episodes, second: Episodes, value: Callable[[Mapping[str, Any]], float]
) -> dict[str, Any] | None:
    """Paired difference ``first - second`` with its bootstrap interval; None without pairs."""
    paired = pairs(first, second, value)
    if not paired:
        return None
    groups = [[a - b for a, b in both] for both in paired]
    return {
        'difference': float(np.mean([np.mean(group) for group in groups])),
        'ci95': list(bootstrap(groups)),
        'episodes': sum(len(group) for group in groups),
    }


def verdict(first: Episodes, second: Episodes, outcome: str = 'held') -> dict[str, Any] | None:
    """Whether the first is ahead of the second, equal or behind, on paired episodes.

    Ahead or behind only where the 95 % interval of the difference leaves out 0.
    """
    result = difference(first, second, lambda episode: float(episode[outcome]))
    if result is None:
        return None
    both = [pair for group in pairs(first, second, lambda e: float(e[outcome])) for pair in group]
    low, high = result['ci95']
    return {
        **result,
        'only_first': sum(a > b for a, b in both),
        'only_second': sum(a < b for a, b in both),
        'mcnemar_p': mcnemar([a for a, _ in both], [b for _, b in both]),
        'verdict': 'ahead' if low > 0 else 'behind' if high < 0 else 'equal',
    }


def best_peer(
    scores: Mapping[str, float], subject: str
) -> str | None:
    """The peer with the best score on the tuning episodes; None without one."""
    peers = {name: score for name, score in scores.items() if name != subject}
    return max(peers, key=peers.__getitem__) if peers else None


def number(value: float | None, digits: int = 2) -> str:
    """A number in a table, a dash where there is none."""
    if value is None or math.isnan(value):
        return '–'
    return f'{value:.{digits}f}'


def percent(score: Mapping[str, Any] | None) -> str:
    """A rate and its interval in a table, in percent."""
    if score is None:
        return '–'
    low, high = score['ci95']
    return f'{100 * score["rate"]:.0f} ({100 * low:.0f} … {100 * high:.0f})'


def signed(result: Mapping[str, Any] | None, *, scale: float = 1.0, digits: int = 0) -> str:
    """A difference and its interval in a table."""
    if result is None:
        return '–'
    low, high = result['ci95']
    return (f'{scale * result["difference"]:+.{digits}f} '
            f'({scale * low:+.{digits}f} … {scale * high:+.{digits}f})')
