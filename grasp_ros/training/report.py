# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a training run: a page of Markdown and its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from grasp_ros.sim.world import DiscWorld
from grasp_ros.training.metrics import (
    OPEN_LOOP_STEPS,
    Encoded,
    Pairs,
    latent_distances,
    open_loop_errors,
)
from grasp_ros.world_models.base import LatentModel, ModelCard, Observation

AIMS = {'probe': 0.006, 'open_loop': 0.02, 'rank': 0.9}
"""Position error of the probe and after 25 open-loop steps, parts of the world's width; rank
correlation of latent distance and shortest path. Of the model with a metric head."""
_GOAL = (0.82, 0.2)
_MAP_CELLS = 60


Measured = Mapping[str, tuple[LatentModel, Encoded]]
"""Model name -> model, and the evaluation walks in its latents."""


def write_report(folder: Path, *, measured: Measured, losses: Mapping[str, list[list[float]]],
                 training: Mapping[str, Any], pairs: Pairs, worlds: Mapping[str, DiscWorld],
                 held_out: str) -> Path:
    """Write ``report.md`` and its pictures.

    :param folder: where to
    :param measured: what came out
    :param losses: stage name -> ``[step, loss]`` entries
    :param training: what the cards say about the run
    :param pairs: whose distances are drawn
    :param worlds: title -> world, for the maps of distances
    :param held_out: what the metrics call the places that no training frame shows
    :return: path of the page
    """
    plot_losses(losses).savefig(folder / 'losses.png', dpi=110)
    _plot_open_loop(measured).savefig(folder / 'open_loop.png', dpi=110)
    _plot_distances(measured, pairs).savefig(folder / 'distances.png', dpi=110)
    _plot_maps(measured, worlds).savefig(folder / 'distance_map.png', dpi=110)
    page = folder / 'report.md'
    page.write_text(_page(measured, training, held_out), encoding='utf-8')
    return page


def _page(measured: Measured, training: Mapping[str, Any], held_out: str) -> str:
    names = list(measured)
    cards = [measured[name][0].card for name in names]
    lines = ['# Training report', '', f'`{training["command"]}`, seed {training["seed"]}: '
             f'{training["wall_sec"] / 60:.1f} min, {training["cpu_sec"] / 60:.1f} min of '
             f'processor time on {training["machine"]["cores"]} cores, '
             f'{training["interruptions"]} interruptions.', '',
             'All figures are measured on walks with other seeds than the training data; lengths '
             'in metres, the world is 1 m wide. In brackets '
             + ('the layouts' if held_out == 'held_out_layouts' else 'the places')
             + ' that no training frame shows.', '',
             '| | aim (with metric head) | ' + ' | '.join(names) + ' |',
             '|---|---|' + '---|' * len(names)]

    def row(title: str, aim: str, *path: str, digits: int = 4) -> None:
        cells = []
        for card in cards:
            found = [_at(card.metrics, area, *path) for area in ('ordinary', held_out)]
            texts = ['–' if value is None else f'{value:.{digits}f}' for value in found]
            cells.append(f'{texts[0]} ({texts[1]})')
        lines.append(f'| {title} | {aim} | ' + ' | '.join(cells) + ' |')

    row('place by the probe, mean error', f'≤ {AIMS["probe"]}', 'probe_error', 'mean')
    row('place by the probe, 95 % below', '', 'probe_error', 'p95')
    for step in OPEN_LOOP_STEPS:
        row(f'open loop, {step} steps, mean error', f'≤ {AIMS["open_loop"]}' if step == 25 else '',
            'open_loop_error', str(step), 'mean')
    row('open loop, 25 steps, 95 % below', '', 'open_loop_error', '25', 'p95')
    row('open loop, 25 steps, those that touch a wall', '', 'open_loop_error_at_wall', '25',
        'mean')
    if cards[0].frames > 1:
        row('velocity by the probe, m/s', '', 'velocity_error', 'mean')
    blocks = 'block' in cards[0].metrics
    row('rank correlation with '
        + ('how far the block is' if blocks else 'the shortest path'), f'≥ {AIMS["rank"]}',
        'rank_correlation', digits=3)
    lines += ['', 'A goal counts as reached while the cost is under the tolerance, which was '
              'chosen on half of the evaluation walks so that 99 % of the pairs under it are '
              'within 0.04; on the other half:', '',
              '| | tolerance | within 0.04 | within 0.05 | of those within 0.04 called | of those '
              'within 0.02 called |', '|---|---|---|---|---|---|']
    for name, card in zip(names, cards):
        goal = card.metrics['goal']
        cells = [goal['precision_0.04'], goal['precision_0.05'], goal['recall_0.04'],
                 goal['recall_0.02']]
        texts = ['–' if value is None else f'{100 * value:.1f} %' for value in cells]
        lines.append(f'| {name} | {card.goal_tolerance:.3g} | ' + ' | '.join(texts) + ' |')
    if cards[0].frames > 1:
        lines += ['', 'Only a frame in which the robot counts as stopped is near a goal.']
    for name, card in zip(names, cards):
        if 'layout_told' in card.metrics:
            told, error = card.metrics['layout_told'], card.metrics['gap_error']
            parts = (('training layouts', 'ordinary'), ('the others', held_out))
            lines += ['', f'{name}: the static part tells the gaps in ' + ', '.join(
                f'{100 * told[part]:.1f} % of the frames of {text} (mean error '
                f'{100 * error[part]["mean"]:.1f} cm)' for text, part in parts) + '.']
    if blocks:
        lines += _block_lines(names, cards)
    lines += ['', '| stage | wall, s | processor, s |', '|---|---|---|']
    lines += [f'| {stage} | {seconds:.0f} | {training["stage_cpu_sec"][stage]:.0f} |'
              for stage, seconds in training['stage_sec'].items()]
    lines += ['', '![Latent distance to a goal](distance_map.png)', '',
              '![Latent distance and shortest path](distances.png)', '',
              '![Open-loop error](open_loop.png)', '', '![Losses](losses.png)', '']
    return '\n'.join(lines)


def _block_lines(names: list[str], cards: list[ModelCard]) -> list[str]:
    lines = ['', 'The block, by the probe; open loop in windows in which it is pushed by 2 cm or '
             'more, or turned as far as counts as much. "Moved" is the error of who foresees '
             'nothing.', '',
             '| | place, m | moved, m | turn, deg | turned, deg | windows |',
             '|---|---|---|---|---|---|']
    for name, card in zip(names, cards):
        probe = card.metrics['block']['probe']
        lines.append(f'| {name}, seen | {probe["error"]["mean"]:.4f} | | '
                     f'{probe["turn_error_deg"]["mean"]:.1f} | | |')
        for steps, errors in card.metrics['block']['open_loop'].items():
            cells = [f'{errors[key]["mean"]:{form}}' for key, form in (
                ('error', '.4f'), ('moved', '.4f'), ('turn_error_deg', '.1f'),
                ('turned_deg', '.1f')) if errors[key]['count']]
            lines.append(f'| {name}, {steps} steps | ' + ' | '.join(cells)
                         + f' | {errors["error"]["count"]} |')
    return lines


def _at(data: Any, *path: str) -> Any:
    for key in path:
        data = data[key]
    return data


def plot_losses(losses: Mapping[str, list[list[float]]]) -> Figure:
    """One panel for each stage.

    :param losses: stage name -> ``[step, loss]`` entries
    """
    figure = Figure(figsize=(12, 6), layout='constrained')
    columns = (len(losses) + 1) // 2
    for index, (name, entries) in enumerate(losses.items()):
        axes = figure.add_subplot(2, columns, index + 1)
        axes.semilogy(*np.array(entries).T, color='tab:blue')
        axes.set_title(name)
        axes.set_xlabel('step')
        axes.grid(alpha=0.3, which='both')
    return figure


def _plot_open_loop(measured: Measured) -> Figure:
    figure = Figure(figsize=(7, 4.5), layout='constrained')
    axes = figure.add_subplot()
    for name, (model, encoded) in measured.items():
        loop = open_loop_errors(model, encoded)
        steps = np.arange(1, loop['error'].shape[1] + 1)
        ordinary, new = (np.where(loop['held_out'] == inside, loop['error'], np.nan)
                         for inside in (False, True))
        line, = axes.plot(steps, np.nanmean(ordinary, axis=0), label=f'{name}, mean')
        axes.plot(steps, np.nanquantile(ordinary, 0.95, axis=0), ':', color=line.get_color(),
                  label=f'{name}, 95 % below')
        if not np.isnan(new).all(axis=0).any():
            axes.plot(steps, np.nanmean(new, axis=0), '--', color=line.get_color(),
                      label=f'{name}, held out, mean')
    axes.axhline(AIMS['open_loop'], color='grey', linewidth=0.8)
    axes.axvline(25, color='grey', linewidth=0.8)
    axes.set_xlabel(f'open-loop steps of {model.card.model_step_sec:g} s')
    axes.set_ylabel('error of place, m')
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _plot_distances(measured: Measured, pairs: Pairs) -> Figure:
    figure = Figure(figsize=(6 * len(measured), 4.5), layout='constrained')
    shown = np.random.default_rng(0).permutation(len(pairs.path))[:4000]
    for index, (name, (model, encoded)) in enumerate(measured.items()):
        distances = latent_distances(model, encoded, pairs)
        rank = model.card.metrics['ordinary']['rank_correlation']
        axes = figure.add_subplot(1, len(measured), index + 1)
        axes.plot(pairs.path[shown], distances[shown], '.', markersize=1.5, alpha=0.5)
        axes.set_title(f'{name}: rank correlation {rank:.3f}')
        axes.set_xlabel('shortest path, m')
        axes.set_ylabel('latent distance')
    return figure


def _plot_maps(measured: Measured, worlds: Mapping[str, DiscWorld]) -> Figure:
    """Square root of the cost of standing anywhere, for a goal at the star."""
    columns = len(measured) * len(worlds)
    figure = Figure(figsize=(5.6 * columns, 5), layout='constrained')
    panels = [(name, title) for name in measured for title in worlds]
    for index, (name, title) in enumerate(panels):
        model, world = measured[name][0], worlds[title]
        side = (np.arange(_MAP_CELLS) + 0.5) / _MAP_CELLS * world.scene.size
        places = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
        world.reset(seed=0, options={'start': _GOAL})  # a block lies anywhere but there
        free = np.array([world.is_free(*place) for place in places])
        images = np.stack([world.render_at(*_GOAL), *(world.render_at(*p) for p in places[free])])
        frames = torch.from_numpy(images)[:, None].expand(-1, model.card.frames, -1, -1, -1)
        camera, actions = next(iter(model.card.cameras)), None
        if model.card.frames > 1:
            actions = torch.zeros(len(images), model.card.frames - 1, 1, model.card.action_size)
        with torch.no_grad():
            latents = model.encode(Observation({camera: frames}, actions=actions))
        distance = np.full(len(places), np.nan)
        distance[free] = model.cost(latents[1:], latents[0]).sqrt().numpy()
        grid = distance.reshape(_MAP_CELLS, _MAP_CELLS)
        axes = figure.add_subplot(1, columns, index + 1)
        shown = axes.imshow(grid, origin='lower', cmap='viridis',
                            extent=(0, world.scene.size, 0, world.scene.size))
        axes.contour(side, side, grid, 14, colors='white', linewidths=0.5)
        _draw_scene(axes, world)
        axes.set_title(f'{name}: latent distance to the star' if len(worlds) == 1 else title)
        figure.colorbar(shown, ax=axes, shrink=0.8)
    return figure


def _draw_scene(axes: Axes, world: DiscWorld) -> None:
    for wall in world.scene.walls:
        axes.add_patch(Rectangle(wall.low, *np.subtract(wall.high, wall.low), color='0.25'))
    for band in world.scene.held_out:
        axes.add_patch(Rectangle(band.low, *np.subtract(band.high, band.low), fill=False,
                                 edgecolor='tab:red', linestyle='--'))
    axes.plot(*_GOAL, '*', color='tab:red', markersize=14)
    axes.set_xlim(0, world.scene.size)
    axes.set_ylim(0, world.scene.size)
    axes.set_xlabel('x, m')
    axes.set_ylabel('y, m')
