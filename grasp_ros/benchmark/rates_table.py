# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What ``grasp-ros rates`` found, as a table and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from grasp_ros.benchmark.roofline import Roofline

COLUMNS = (
    'model', 'planner', 'T', 'plans', 'iterations', 'encode, ms', 'image to action, ms',
    'an iteration, ms', 'of the roofline', 'a tick, ms', 'ticks a second',
)  # fmt: skip
COLUMNS_GPU = ('kernels an iteration', 'of their launches', 'memory, GiB', 'from the CPU')
MEASURED, SCALED, BOUND = '', '≈ ', '≥ '  # how a time was found


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A line of the table, as :data:`COLUMNS`, and :data:`COLUMNS_GPU` where it ran on one."""
    found, is_bound = row['found'], row['found'] == BOUND
    line = (
        row['model'], row['planner'], str(row['horizon']), str(row['plans']),
        str(row['iterations']), f'{row["encode_ms"]:.1f}',
        f'{"" if row["planner"] == "grasp" else found}{row["action_ms"]:.1f}',
        '–' if row['roofline'] is None and not is_bound
        else f'{BOUND if is_bound else ""}{row["iteration_ms"]:.3g}',
        '–' if is_bound else _percent(row['roofline']),
        f'{found}{row["tick_ms"]:.3g}',
        f'{"≤ " if is_bound else found}{1e3 / row["tick_ms"]:.3g}',
    )  # fmt: skip
    if 'kernels' not in row:
        return line
    apart = row['from_cpu']
    return (
        *line, '–' if is_bound else f'{row["kernels"]:.0f}',
        '–' if is_bound else _percent(row['launches']), f'{row["memory_gib"]:.1f}',
        '–' if apart is None else f'{apart:.1e}',
    )  # fmt: skip


def _percent(share: float | None) -> str:
    return '–' if share is None else f'{share:.0%}'


def sentence(row: Mapping[str, Any]) -> str:
    """The same in words."""
    about = dict(zip(COLUMNS + COLUMNS_GPU, cells(row), strict=False))
    text = (
        f'{about["model"]}, {about["planner"]}, T = {about["T"]}, {about["plans"]} plans, '
        f'{about["iterations"]} iterations: image to action {about["image to action, ms"]} ms, '
        f'encode {about["encode, ms"]} of it; an iteration {about["an iteration, ms"]} ms, '
        f'{about["of the roofline"]} of the roofline; a tick {about["a tick, ms"]} ms, '
        f'{about["ticks a second"]} a second'
    )
    if 'kernels' in row:
        text += (
            f'; {about["kernels an iteration"]} kernels an iteration, '
            f'{about["of their launches"]} of it their launches; {about["memory, GiB"]} GiB; '
            f'from the CPU {about["from the CPU"]}'
        )
    return text


def markdown(
    rows: Sequence[Mapping[str, Any]], *, heading: str, best: Mapping[str, Roofline], sizes: str
) -> str:
    """The table as a part of a page.

    :param heading: command, machine and versions
    :param best: what the device does at best, for each precision
    :param sizes: of the models, in words
    """
    columns = COLUMNS + (COLUMNS_GPU if 'kernels' in rows[0] else ())
    at_best = ', '.join(f'{1e-9 * b.flops:.0f} GFLOP/s in {name}' for name, b in best.items())
    one = next(iter(best.values()))
    if math.isfinite(one.kernels):
        at_best += f', {1e6 / one.kernels:.2f} µs from one kernel of a graph to the next'
    lines = [
        heading, '',
        f'{sizes}. The device at best: {at_best}, {1e-9 * one.bytes:.0f} GB/s.', '',
        '| ' + ' | '.join(columns) + ' |', '|' + '---|' * len(columns),
    ]  # fmt: skip
    return '\n'.join(lines + ['| ' + ' | '.join(cells(row)) + ' |' for row in rows])
