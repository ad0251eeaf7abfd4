# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a benchmark says: results.json with every episode, table.md, and plots."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grasp_ros.benchmark import plots
from grasp_ros.benchmark.cells import Cell, results_of
from grasp_ros.benchmark.escape import DEEP, bin_of
from grasp_ros.benchmark.latency import LATENCY_FILE
from grasp_ros.benchmark.run import (
    GREEDY_SETTINGS,
    Tuned,
    ablation_cells,
    feedback_cells,
    run_cells,
)
from grasp_ros.benchmark.suite import GREEDY, Suite
from grasp_ros.benchmark.summary import (
    Episodes,
    best_peer,
    difference,
    number,
    percent,
    rate_of,
    signed,
    summary,
    verdict,
)
from grasp_ros.control.controller import ControllerConfig

RESULTS_FILE = 'results.json'
TABLE_FILE = 'table.md'
Driven = dict[tuple, dict[str, list[dict[str, Any]]]]


def write(suite: Suite, tuned: Tuned, folder: Path) -> None:
    """Write everything that the episodes so far allow."""
    cells = [
        *run_cells(suite, tuned), *ablation_cells(suite, tuned), *feedback_cells(suite, tuned),
    ]
    driven = [(cell, results_of(cell, folder)) for cell in _unique(cells)]
    runs = _grouped(suite, driven, 'run')
    ablations = _grouped(suite, driven, 'ablation')
    studies = _grouped(suite, driven, 'feedback')
    latency = _read(folder / LATENCY_FILE)
    parts = {
        'scores': [
            {'task': task, 'entry': entry, 'deadline_ms': ms, **summary(episodes)}
            for (task, entry, ms), episodes in runs.items()
        ],
        'claims': claims(suite, tuned, runs),
        'escape': escapes(suite, runs),
        'ablation': ablation(suite, runs, ablations),
        'feedback': feedback(suite, studies),
        'latency': latency,
    }
    data = {
        'machine': {'processor': platform.machine(), 'torch': torch.__version__,
                    'python': platform.python_version()},
        'tuned': list(tuned.values()),
        **parts,
        'cells': [
            {**asdict(cell), 'episodes': [
                {name: value for name, value in episode.items() if name != 'ms'}
                for episode in episodes
            ]}
            for cell, episodes in driven if episodes
        ],
    }
    (folder / RESULTS_FILE).write_text(json.dumps(data, indent=1) + '\n', encoding='utf-8')
    (folder / TABLE_FILE).write_text(table(suite, tuned, parts), encoding='utf-8')
    plots.write(suite, parts, folder)


def _unique(cells: Iterable[Cell]) -> list[Cell]:
    return list({cell.file: cell for cell in cells}.values())


def _grouped(
    suite: Suite, driven: Iterable[tuple[Cell, list[dict[str, Any]]]], study: str
) -> Driven:
    """(task, entry, deadline) or, in the feedback study, (task, disturbance, entry, charge)."""
    found: Driven = {}
    for cell, lines in driven:
        if cell.study != study:
            continue
        episodes = suite.episodes_of(study, cell.entry, cell.disturbance[0])
        lines = [line for line in lines if line['index'] < episodes]
        if not lines:
            continue
        key = (cell.task, cell.entry, cell.deadline_ms)
        if study == 'feedback':
            key = (cell.task, cell.disturbance[0], cell.entry, cell.charge)
        found.setdefault(key, {})[cell.training_seed] = lines
    return found


def _read(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else []


def claims(suite: Suite, tuned: Tuned, runs: Mapping[tuple, Episodes]) -> list[dict[str, Any]]:
    """The subject against the peer that tuning found best, for every task and deadline."""
    subject, found = suite.planners[0].name, []
    for task in suite.tasks:
        greedy = runs.get((task.name, GREEDY, 0.0))
        for ms in suite.deadlines_ms:
            mine = runs.get((task.name, subject, ms))
            scores = {
                entry.name: tuned[key]['score'] for entry in suite.planners
                if (key := (task.name, entry.name, suite.tuned_deadline(ms))) in tuned
                and (task.name, entry.name, ms) in runs
            }
            peer = best_peer(scores, subject)
            if mine is None or peer is None:
                continue
            key = (task.name, peer, suite.tuned_deadline(ms))
            found.append({
                'task': task.name, 'deadline_ms': ms, 'peer': peer,
                'peer_settings': tuned[key]['settings'],
                'held': rate_of(mine, 'held'),
                'peer_held': rate_of(runs[task.name, peer, ms], 'held'),
                'greedy_held': rate_of(greedy, 'held') if greedy else None,
                **verdict(mine, runs[task.name, peer, ms]),
            })
    return found


def escapes(suite: Suite, runs: Mapping[tuple, Episodes]) -> list[dict[str, Any]]:
    """Held rates by bin of the escape horizon."""
    found = []
    graded = {task.name for task in suite.tasks if task.strata}
    for (task, entry, ms), episodes in runs.items():
        if task not in graded:
            continue
        bins = {bin_of(e['escape_horizon']) for lines in episodes.values() for e in lines}
        for upper in sorted(bins):
            part = {
                seed: [e for e in lines if bin_of(e['escape_horizon']) == upper]
                for seed, lines in episodes.items()
            }
            part = {seed: lines for seed, lines in part.items() if lines}
            found.append({
                'task': task, 'entry': entry, 'deadline_ms': ms, 'bin': upper,
                'episodes': sum(map(len, part.values())), 'held': rate_of(part, 'held'),
            })
    return found


def ablation(
    suite: Suite, runs: Mapping[tuple, Episodes], ablations: Mapping[tuple, Episodes]
) -> list[dict[str, Any]]:
    """Every variant against the whole planner, on paired episodes."""
    subject, found = suite.planners[0].name, []
    for task in suite.tasks:
        ms = suite.ablation.get('deadline_ms')
        whole = runs.get((task.name, subject, ms))
        if whole is None:
            continue
        variants = {subject: whole}
        if (task.name, 'unlifted', ms) in runs:
            variants['no lifted states (tuned on its own)'] = runs[task.name, 'unlifted', ms]
        variants |= {entry: lines for (name, entry, _), lines in ablations.items()
                     if name == task.name}
        for name, episodes in variants.items():
            found.append({
                'task': task.name, 'variant': name, 'deadline_ms': ms,
                'held': rate_of(episodes, 'held'), 'against': verdict(episodes, whole),
            })
    return found


def feedback(suite: Suite, studies: Mapping[tuple, Episodes]) -> list[dict[str, Any]]:
    """Regret of every arm against the first one without charge, on paired episodes."""
    if not suite.feedback:
        return []
    reference = suite.feedback['arms'][0].name
    blind, subject = (suite.feedback.get(name) for name in ('blind', 'subject'))
    found = []
    for (task, disturbance, arm, charge), episodes in studies.items():
        whole = studies.get((task, disturbance, reference, False), {})
        uncorrected = studies.get((task, disturbance, blind, charge), {})
        claimed = studies.get((task, disturbance, subject, True), {})
        solve = [
            after - encode for lines in episodes.values() for e in lines
            for after, encode in zip(e['ms']['cpu'], e['ms']['encode'])
        ]
        found.append({
            'task': task, 'disturbance': disturbance, 'arm': arm, 'charge': charge,
            **summary(episodes),
            'after_encode_ms': float(torch.tensor(solve).median()),
            'regret': difference(episodes, whole, lambda e: e['mean_distance']),
            'final_regret': difference(episodes, whole, lambda e: e['final_distance']),
            'held_difference': difference(episodes, whole, lambda e: float(e['held'])),
            'against_blind': difference(episodes, uncorrected, lambda e: e['mean_distance']),
            'final_against_blind': difference(
                episodes, uncorrected, lambda e: e['final_distance']
            ),
            'subject_ahead': difference(claimed, episodes, lambda e: float(e['held'])),
        })
    return found


def table(suite: Suite, tuned: Tuned, parts: Mapping[str, Any]) -> str:
    """All numbers as Markdown."""
    sections = [
        _claims_table(suite, parts['claims']),
        _scores_table(suite, tuned, parts['scores']),
        _escape_table(suite, parts['escape']),
        _ablation_table(parts['ablation']),
        _feedback_table(parts['feedback']),
        _latency_table(parts['latency']),
        _settings_table(tuned),
    ]
    return '\n'.join(section for section in sections if section)


def _markdown(title: str, note: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ''
    lines = [f'## {title}', '', note, '', '| ' + ' | '.join(head) + ' |',
             '|' + '--|' * len(head)]
    lines += ['| ' + ' | '.join(row) + ' |' for row in rows]
    return '\n'.join(lines) + '\n'


def _claims_table(suite: Suite, found: Sequence[Mapping[str, Any]]) -> str:
    subject = suite.planners[0].name
    return _markdown(
        f'{subject} against the best peer',
        'Held rates in %, with 95 % intervals (bootstrap over training seeds and episodes); the '
        'difference on the same episodes. The peer is the one that did best on the tuning '
        'episodes; greedy is the control, without deadline or charge.',
        ('task', 'deadline, ms', 'greedy', subject, 'best peer (T)', 'held', 'difference',
         'only one of them held', 'McNemar p', f'{subject} is'),
        [
            (
                row['task'], f'{row["deadline_ms"]:g}', percent(row['greedy_held']),
                percent(row['held']),
                f'{row["peer"]} ({row["peer_settings"].get("horizon", "default")})',
                percent(row['peer_held']), signed(row, scale=100),
                f'{row["only_first"]} : {row["only_second"]}', number(row['mcnemar_p'], 3),
                f'**{row["verdict"]}**',
            )
            for row in found
        ],
    )


def _scores_table(suite: Suite, tuned: Tuned, found: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for row in found:
        ms = row['deadline_ms']
        result = tuned.get((row['task'], row['entry'], suite.tuned_deadline(ms))) if ms else None
        settings = result['settings'] if result else GREEDY_SETTINGS
        action, tick = row['image_to_action_cpu_ms'], row['tick_cpu_ms']
        wall = row['image_to_action_wall_ms']
        rows.append((
            row['task'], f'{ms:g}' if ms else 'none', row['entry'],
            str(settings.get('horizon', 'default')),
            settings.get('schedule', ControllerConfig.schedule), str(row['episodes']),
            percent(row['reached']), percent(row['held']),
            number(row['path_ratio']), f'{action["p50"]:.1f} / {action["p99"]:.1f}',
            f'{wall["p50"]:.1f} / {wall["p99"]:.1f}', f'{tick["p50"]:.1f} / {tick["p99"]:.1f}',
            str(row['lost_frames']),
        ))
    return _markdown(
        'All planners',
        'Rates in % with 95 % intervals; times in ms, p50 / p99. Image to action: thread CPU and '
        'wall. Tick: thread CPU, preparation included. Lost: frames that came during a solve.',
        ('task', 'deadline, ms', 'planner', 'T', 'schedule', 'episodes', 'reached', 'held',
         'path / shortest', 'image to action, CPU', 'wall', 'tick, CPU', 'lost'),
        rows,
    )


def _escape_table(suite: Suite, found: Sequence[Mapping[str, Any]]) -> str:
    bins = sorted({row['bin'] for row in found})
    names = {DEEP: 'deep', 0: 'none'}
    cells: dict[tuple, dict[int, str]] = {}
    for row in found:
        text = f'{percent(row["held"])} of {row["episodes"]}'
        cells.setdefault((row['task'], row['deadline_ms'], row['entry']), {})[row['bin']] = text
    return _markdown(
        'Held by escape horizon',
        "Held rate in %, by the bin of the episode's escape horizon (steps, up to).",
        ('task', 'deadline, ms', 'planner', *(names.get(upper, str(upper)) for upper in bins)),
        [
            (task, f'{ms:g}' if ms else 'none', entry, *(row.get(upper, '–') for upper in bins))
            for (task, ms, entry), row in sorted(cells.items())
        ],
    )


def _ablation_table(found: Sequence[Mapping[str, Any]]) -> str:
    return _markdown(
        'Parts',
        'Held rate in % at the tuned settings, whole and minus each part; the difference on the '
        'same episodes. A part that the tuned settings do not use is not listed.',
        ('task', 'deadline, ms', 'variant', 'held', 'difference'),
        [
            (row['task'], f'{row["deadline_ms"]:g}', row['variant'], percent(row['held']),
             signed(row['against'], scale=100))
            for row in found
        ],
    )


def _feedback_table(found: Sequence[Mapping[str, Any]]) -> str:
    return _markdown(
        'Preparation and feedback',
        'Distances in mm: regret is the mean distance to the goal over the episode less that of '
        'the full solve without charge on the same episode, at its end likewise; against '
        'uncorrected, and so at the end, are the same against the prepared plan applied '
        'uncorrected; the last column is by how many points the corrected plan held more than '
        'this arm. Times in ms of thread CPU.',
        ('task', 'disturbance', 'charged', 'arm', 'held', 'held, difference', 'regret',
         'regret at the end', 'image to action', 'without encode', 'tick', 'against uncorrected',
         'so at the end', 'corrected plan ahead'),
        [
            (
                row['task'], row['disturbance'], 'yes' if row['charge'] else 'no', row['arm'],
                percent(row['held']), signed(row['held_difference'], scale=100),
                signed(row['regret'], scale=1e3, digits=1),
                signed(row['final_regret'], scale=1e3, digits=1),
                number(row['image_to_action_cpu_ms']['p50']), number(row['after_encode_ms']),
                number(row['tick_cpu_ms']['p50']),
                signed(row['against_blind'], scale=1e3, digits=1),
                signed(row['final_against_blind'], scale=1e3, digits=1),
                signed(row['subject_ahead'], scale=100),
            )
            for row in found
        ],
    )


def _latency_table(found: Sequence[Mapping[str, Any]]) -> str:
    horizons = sorted({row['horizon'] for row in found})
    rows = []
    for entry in dict.fromkeys(row['entry'] for row in found):
        mine = {row['horizon']: row for row in found if row['entry'] == entry}
        rows.append((
            entry,
            *(f'{mine[t]["solve_ms"]:.2f} ({mine[t]["solve_ms"] / mine[t]["forward_ms"]:.1f})'
              if t in mine else '–' for t in horizons),
            number(mine[horizons[-1]]['solve_ms'] / mine[horizons[0]]['solve_ms']),
        ))
    if found:
        once, in_a_row = (
            float(np.median([row[name] for row in found]))
            for name in ('forward_ms', 'repeated_forward_ms')
        )
        rows.append((f'one forward pass at T = 1: {once:.3f} once a tick, {in_a_row:.3f} repeated',
                     *('' for _ in horizons), ''))
    return _markdown(
        'Image to action against the horizon',
        'Median ms of thread CPU after the encoder, in brackets as multiples of one forward pass '
        'at T = 1 that is timed between the ticks of the same run, once a tick and after the '
        'encoder like what it is compared with; full solves without a deadline.',
        ('planner', *(f'T = {t}' for t in horizons), 'last / first'), rows,
    )


def _settings_table(tuned: Tuned) -> str:
    return _markdown(
        'Settings as tuned',
        'What every search chose, the default of the planner where nothing is said, and what it '
        'held on its tuning episodes.',
        ('task', 'deadline, ms', 'planner', 'held', 'settings'),
        [
            (task, f'{ms:g}', entry, f'{100 * result["held"]:.0f} % of {result["episodes"]}',
             ', '.join(f'{name} {value}' for name, value in result['settings'].items()) or '–')
            for (task, entry, ms), result in tuned.items()
        ],
    )
