# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rates, intervals and paired tests of episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, chi2

_DRAWS = 10_000


def rate(outcomes: Sequence[bool]) -> dict[str, Any] | None:
    """Rate of successes with its Wilson 95 % interval; None without outcomes."""
    if not len(outcomes):
        return None
    test = binomtest(int(sum(outcomes)), len(outcomes))
    interval = test.proportion_ci(confidence_level=0.95, method='wilson')
    return {'rate': float(test.statistic), 'ci95': [float(interval.low), float(interval.high)]}


def events_per_hour(count: int, hours: float) -> dict[str, float]:
    """Rate of rare events with its exact Poisson 95 % interval."""
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    high = chi2.ppf(0.975, 2 * count + 2) / 2
    return {'per_hour': count / hours, 'ci95': [float(low / hours), float(high / hours)]}


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {'p50': float(np.percentile(values, 50)), 'p99': float(np.percentile(values, 99))}


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """Exact two-sided p-value of McNemar's test on paired outcomes of 0 and 1."""
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def bootstrap(groups: Sequence[Sequence[float]], *, seed: int = 0) -> tuple[float, float]:
    """Bootstrap 95 % interval of the mean over groups, for example over training seeds.

    Hierarchical: groups are drawn with replacement, and in each of them its values. With one
    group it is the plain bootstrap.

    :param groups: none of them empty
    """
    random = np.random.default_rng(seed)
    arrays = [np.asarray(group, dtype=float) for group in groups]
    picked = random.integers(0, len(arrays), size=(_DRAWS, len(arrays)))
    means = np.empty((_DRAWS, len(arrays)))
    for slot in range(len(arrays)):
        for index, values in enumerate(arrays):
            rows = np.nonzero(picked[:, slot] == index)[0]
            draws = random.integers(0, len(values), size=(len(rows), len(values)))
            means[rows, slot] = values[draws].mean(axis=1)
    low, high = np.percentile(means.mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
