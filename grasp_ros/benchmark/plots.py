# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The plots of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grasp_ros.benchmark.escape import DEEP
from grasp_ros.benchmark.suite import GREEDY, Suite

_WIDTH, _HEIGHT = 4.6, 3.6  # inches, of one panel


def write(suite: Suite, parts: Mapping[str, Any], folder: Path) -> None:
    """Write the plots that there are numbers for."""
    for name, figure in (
        ('latency', _latency(parts['latency'])),
        ('deadline', _deadline(suite, parts['scores'])),
        ('escape', _escape(suite, parts['escape'])),
        ('ablation', _ablation(parts['ablation'])),
        ('feedback', _feedback(parts['feedback'])),
    ):
        if figure is not None:
            figure.savefig(folder / f'{name}.png', dpi=130, bbox_inches='tight')


def _panels(names: Sequence[str]) -> tuple[Figure, dict[str, Axes]]:
    figure = Figure(figsize=(_WIDTH * len(names), _HEIGHT), layout='constrained')
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(axes, names):
        axis.set_title(name, fontsize=10)
        axis.grid(alpha=0.3)
    return figure, dict(zip(names, axes))


def _latency(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    if not rows:
        return None
    figure, axes = _panels(['image to action, without encode'])
    axis = next(iter(axes.values()))
    for entry in dict.fromkeys(row['entry'] for row in rows):
        mine = [row for row in rows if row['entry'] == entry]
        style = '-o' if 'prepared' in entry else '--.'
        axis.plot([row['horizon'] for row in mine], [row['solve_ms'] for row in mine], style,
                  label=entry)
    axis.set(xscale='log', yscale='log', xlabel='horizon T, model steps',
             ylabel='thread CPU, ms')
    horizons = sorted({row['horizon'] for row in rows})
    axis.set_xticks(horizons, [str(t) for t in horizons], minor=False)
    axis.minorticks_off()
    axis.legend(fontsize=7, loc='center left', bbox_to_anchor=(1, 0.5))
    return figure


def _deadline(suite: Suite, rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    tasks = list(dict.fromkeys(row['task'] for row in rows))
    if not tasks:
        return None
    figure, axes = _panels(tasks)
    for task, axis in axes.items():
        mine = [row for row in rows if row['task'] == task]
        for number, entry in enumerate(suite.planners):
            line = [row for row in mine if row['entry'] == entry.name]
            if line:
                _with_bars(axis, [row['deadline_ms'] for row in line],
                           [row['held'] for row in line], entry.name,
                           strong=number == 0, shift=1 + 0.02 * number)
        for row in mine:
            if row['entry'] == GREEDY:
                axis.axhline(row['held']['rate'], color='0.5', ls=':', label='greedy control')
        axis.set(xscale='log', xlabel='deadline, image to action, ms', ylim=(-0.03, 1.03))
        axis.set_xticks(suite.deadlines_ms, [f'{ms:g}' for ms in suite.deadlines_ms])
        axis.minorticks_off()
    axis = axes[tasks[0]]
    axis.set_ylabel('held')
    axes[tasks[-1]].legend(fontsize=7, loc='center left', bbox_to_anchor=(1, 0.5))
    return figure


def _escape(suite: Suite, rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    panels = sorted({(row['task'], row['deadline_ms']) for row in rows if row['deadline_ms']})
    if not panels:
        return None
    figure, axes = _panels([f'{task}, {ms:g} ms' for task, ms in panels])
    bins = sorted({row['bin'] for row in rows})
    names = ['none' if b == 0 else 'deep' if b == DEEP else f'≤ {b}' for b in bins]
    for (task, ms), axis in zip(panels, axes.values()):
        for number, name in enumerate([*(entry.name for entry in suite.planners), GREEDY]):
            wanted = 0.0 if name == GREEDY else ms
            line = [
                row for row in rows
                if (row['task'], row['entry'], row['deadline_ms']) == (task, name, wanted)
            ]
            if line:
                _with_bars(axis, [bins.index(row['bin']) + 0.05 * number for row in line],
                           [row['held'] for row in line], name, strong=number == 0)
        axis.set_xticks(range(len(bins)), names)
        axis.set(xlabel='escape horizon, steps', ylim=(-0.03, 1.03))
    axis.legend(fontsize=7, loc='center left', bbox_to_anchor=(1, 0.5))
    return figure


def _ablation(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    tasks = list(dict.fromkeys(row['task'] for row in rows))
    if not tasks:
        return None
    figure, axes = _panels(tasks)
    for task, axis in axes.items():
        mine = [row for row in rows if row['task'] == task][::-1]
        rates = [row['held']['rate'] for row in mine]
        bars = [[max(0.0, rate - row['held']['ci95'][0]) for rate, row in zip(rates, mine)],
                [max(0.0, row['held']['ci95'][1] - rate) for rate, row in zip(rates, mine)]]
        colours = ['tab:blue' if row is mine[-1] else '0.6' for row in mine]
        axis.barh([row['variant'] for row in mine], rates, xerr=bars, color=colours,
                  error_kw={'lw': 1})
        axis.set(xlim=(0, 1.03), xlabel='held')
    return figure


def _feedback(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Regret against image to action, a row of panels per task, a panel per disturbance."""
    rows = [row for row in rows if row['charge'] and row['regret'] is not None]
    tasks = list(dict.fromkeys(row['task'] for row in rows))
    if not tasks:
        return None
    names = list(dict.fromkeys(row['disturbance'] for row in rows))
    arms = list(dict.fromkeys(row['arm'] for row in rows))
    figure = Figure(figsize=(_WIDTH * len(names), _HEIGHT * len(tasks)), layout='constrained')
    axes = figure.subplots(len(tasks), len(names), squeeze=False)
    for task, line in zip(tasks, axes):
        for disturbance, axis in zip(names, line):
            axis.set(xscale='log', yscale='symlog')  # first, for the margins are of the scale
            for row in rows:
                if (row['task'], row['disturbance']) != (task, disturbance):
                    continue
                regret, number = row['regret'], arms.index(row['arm'])
                low, high = (1e3 * end for end in regret['ci95'])
                middle = 1e3 * regret['difference']
                axis.errorbar(
                    row['image_to_action_cpu_ms']['p50'], middle,
                    yerr=[[max(0.0, middle - low)], [max(0.0, high - middle)]],
                    marker='osD^v<>'[number % 7], color=f'C{number % 10}', ms=6, lw=1,
                    label=row['arm'],
                )
            axis.axhline(0, color='0.5', lw=0.8)
            axis.grid(alpha=0.3)
            axis.set_title(f'{task}, {disturbance}', fontsize=10)
            axis.set_xlabel('image to action, ms')
            ticks = (1, 2, 5, 10, 20, 50, 100)
            axis.set_xticks(ticks, map(str, ticks))
            axis.set_xlim(ticks[0], ticks[-1])
            axis.minorticks_off()
        line[0].set_ylabel('regret, mm')
    known = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels()):
            known.setdefault(label, handle)
    figure.legend(known.values(), known.keys(), fontsize=7, loc='outside right upper')
    return figure


def _with_bars(
    axis: Axes, places: Sequence[float], rates: Sequence[Mapping[str, Any]], name: str, *,
    strong: bool, shift: float = 1.0,
) -> None:
    values = [score['rate'] for score in rates]
    bars = [[max(0.0, value - score['ci95'][0]) for value, score in zip(values, rates)],
            [max(0.0, score['ci95'][1] - value) for value, score in zip(values, rates)]]
    axis.errorbar([place * shift for place in places], values, yerr=bars, label=name,
                  marker='o', ms=4, lw=2.5 if strong else 1.2, elinewidth=0.6,
                  zorder=3 if strong else 2)
