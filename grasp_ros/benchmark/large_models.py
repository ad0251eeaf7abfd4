# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``grasp-ros large-models``: what rate the size of a model allows, and to whom.

GRASP with preparation and feedback, beside CEM with the papers' sample counts and with few, on
networks of published shapes with random weights: the numbers that come out mean nothing, what they
cost does. Needs no ROS.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count as count_up
from itertools import islice, product
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch.utils.flop_counter import FlopCounterMode

from grasp_ros import page
from grasp_ros.benchmark.sized import MODEL_STEP_SEC, SIZES, SizedModel, make
from grasp_ros.control.controller import Controller, ControllerConfig
from grasp_ros.control.history import Frame
from grasp_ros.planners import registry
from grasp_ros.planners.base import Planner
from grasp_ros.training.evaluate import card_limits

PART = 'large models'  # of the page
WARM_UP, TICKS = 1, 3
LONGEST_SEC = 20.0  # of a tick that is still driven
LONGEST_ITERATION_SEC = 5.0  # at the roofline, of one that is still timed
GRASP_ITERATIONS = 10
# Few samples, that real time may allow, and those of LeWM's and DINO-WM's papers.
CEM = (
    {'horizon': 5, 'samples': 64, 'elites': 8, 'iterations': 2},
    {'horizon': 5, 'samples': 300, 'elites': 30, 'iterations': 30},
)
COLUMNS = (
    'model', 'planner', 'T', 'plans', 'iterations', 'encode, ms', 'image to action, ms',
    'an iteration, ms', 'of the roofline', 'a tick, ms', 'ticks a second',
)  # fmt: skip
MEASURED, SCALED, BOUND = '', '≈ ', '≥ '  # how a time was found


@dataclass(frozen=True)
class Case:
    """What is timed.

    :param planner: its name in the registry
    :param settings: of the planner
    """

    planner: str
    settings: Mapping[str, Any]

    @property
    def is_ahead(self) -> bool:
        """Whether it prepares before the frame."""
        return self.planner == 'grasp'

    @property
    def plans(self) -> int:
        """Action sequences side by side."""
        return self.settings['restarts' if self.is_ahead else 'samples']

    def flops(self, model: SizedModel) -> float:
        """Of one iteration, at least: predictor calls alone, with their derivative for GRASP."""
        card = model.card
        context = torch.zeros((1, card.history, *card.latent_shape), device=model.device)
        actions = torch.zeros(
            (1, card.history, card.action_block, card.action_size), device=model.device
        )
        with FlopCounterMode(display=False) as counter:
            if self.is_ahead:
                latents, pullback = model.predict_with_vjp(context, actions)
                pullback(latents)
            else:
                model.predict(context, actions)
        return float(counter.get_total_flops()) * self.plans * self.settings['horizon']


@dataclass(frozen=True)
class Times:
    """What the parts of a tick take, medians.

    :param encode_sec: of one picture
    :param action_sec: from the picture to the action, encode included
    :param prepare_sec: between two pictures
    """

    encode_sec: float
    action_sec: float
    prepare_sec: float

    @property
    def tick_sec(self) -> float:
        """All that has to be done from one picture to the next."""
        return self.action_sec + self.prepare_sec

    def longer(self, case: Case, seconds: float) -> Times:
        """With more iterations, where the case has them."""
        name = 'prepare_sec' if case.is_ahead else 'action_sec'
        return replace(self, **{name: getattr(self, name) + seconds})


@dataclass(frozen=True)
class Roofline:
    """What a device can do at best.

    :param flops: float32 operations a second, of a large product of matrices
    :param bytes: read and written a second, of a copy that no cache holds
    """

    flops: float
    bytes: float

    def bound_sec(self, *, flops: float, read: float) -> float:
        """The least time for so many operations on so many bytes."""
        return max(flops / self.flops, read / self.bytes)


def cases(horizons: Sequence[int], restarts: Sequence[int]) -> Iterator[Case]:
    """GRASP with every number of restarts and every horizon, then CEM."""
    for count, horizon in product(restarts, horizons):
        settings = {'horizon': horizon, 'restarts': count, 'samples': count - 1}
        yield Case('grasp', {**settings, 'iterations': GRASP_ITERATIONS})
    for settings in CEM:
        yield Case('cem', settings)


def measure(model: SizedModel, case: Case, best: Roofline) -> dict[str, Any]:
    """What is reported of a case, in plain JSON types; times in ms.

    A tick that would take longer than :data:`LONGEST_SEC` is not driven: iterations are added to
    one that has two (``found`` says :data:`SCALED`). Where one alone takes longer than
    :data:`LONGEST_ITERATION_SEC` at best, nothing is timed but the picture, and the roofline's
    bound is given (:data:`BOUND`).
    """
    flops, count = case.flops(model), case.settings['iterations']
    weights = sum(
        parameter.nbytes for part in (model.predictor, model.embed)
        for parameter in part.parameters()
    )  # fmt: skip
    # GRASP reads the weights once more on the way back.
    bound_sec = best.bound_sec(flops=flops, read=weights * (2.0 if case.is_ahead else 1.0))
    if bound_sec > LONGEST_ITERATION_SEC:
        found, one_sec = BOUND, bound_sec
        encode_sec = _encode_sec(model)
        times = Times(encode_sec, encode_sec, 0.0).longer(case, count * bound_sec)
    else:
        one, two = (_timed(model, case, iterations=n) for n in (1, 2))
        one_sec = two.tick_sec - one.tick_sec
        if two.tick_sec + (count - 2) * one_sec > LONGEST_SEC:
            found, times = SCALED, two.longer(case, (count - 2) * one_sec)
        else:
            found, times = MEASURED, _timed(model, case, iterations=count)
            one_sec = (times.tick_sec - one.tick_sec) / (count - 1)
    return {
        'model': model.card.name, 'planner': case.planner, **case.settings, 'plans': case.plans,
        'found': found, 'encode_ms': 1e3 * times.encode_sec, 'action_ms': 1e3 * times.action_sec,
        'iteration_ms': 1e3 * one_sec, 'tick_ms': 1e3 * times.tick_sec,
        'roofline': bound_sec / one_sec,
    }  # fmt: skip


def _pictures(model: SizedModel) -> Iterator[Frame]:
    """Noise, a model step apart."""
    random = np.random.default_rng(0)
    ((camera, spec),) = model.card.cameras.items()
    for n in count_up():
        pixels = random.integers(0, 256, (spec.height, spec.width, 3), np.uint8)
        yield Frame({camera: pixels}, n * MODEL_STEP_SEC)


def _controller(model: SizedModel, planner: Planner, *, ahead: bool) -> Controller:
    config = ControllerConfig(
        schedule='ahead' if ahead else 'after_frame',
        # What random weights foresee is no reason to stop; and the clock stands while it computes.
        unforeseen_frames=0, frozen_frames=0, drop_innovation=0.0, latency_compensation=False,
    )  # fmt: skip
    return Controller(model=model, planner=planner, limits=card_limits(model), config=config)


def _encode_sec(model: SizedModel) -> float:
    controller = _controller(model, registry.make('greedy', model), ahead=False)
    times = []
    for frame in islice(_pictures(model), WARM_UP + TICKS):
        times.append(controller.step(frame, now_sec=frame.stamp_sec).encode_sec)
    return float(np.median(times[WARM_UP:]))


def _timed(model: SizedModel, case: Case, *, iterations: int) -> Times:
    planner = registry.make(case.planner, model, **{**case.settings, 'iterations': iterations})
    controller = _controller(model, planner, ahead=case.is_ahead)
    pictures = _pictures(model)
    controller.set_goal(controller.encode_goal(next(pictures)))
    times = []
    for frame in islice(pictures, WARM_UP + TICKS):
        started_sec = _now(model)
        tick = controller.step(frame, now_sec=frame.stamp_sec)
        acted_sec = _now(model)
        controller.prepare()
        times.append((tick.encode_sec, acted_sec - started_sec, _now(model) - acted_sec))
    return Times(*map(float, np.median(times[WARM_UP:], axis=0)))


def _now(model: SizedModel) -> float:
    if model.device.type == 'cuda':
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


def roofline(device: torch.device) -> Roofline:
    """What the device does at best, measured."""

    def best_sec(work: Callable[[], Any]) -> float:
        times = []
        for _ in range(8):
            if device.type == 'cuda':
                torch.cuda.synchronize(device)
            started_sec = time.perf_counter()
            work()
            if device.type == 'cuda':
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - started_sec)
        return min(times)

    side, count = (8192, 2**28) if device.type == 'cuda' else (2048, 2**26)
    left, right = (torch.randn(side, side, device=device) for _ in range(2))
    source = torch.zeros(count, device=device)
    target = torch.empty_like(source)
    return Roofline(
        flops=2.0 * side**3 / best_sec(lambda: left @ right),
        bytes=2.0 * source.nbytes / best_sec(lambda: target.copy_(source)),
    )


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A line of the table, as :data:`COLUMNS`."""
    found, is_bound = row['found'], row['found'] == BOUND
    return (
        row['model'], row['planner'], str(row['horizon']), str(row['plans']),
        str(row['iterations']), f'{row["encode_ms"]:.1f}',
        f'{"" if row["planner"] == "grasp" else found}{row["action_ms"]:.1f}',
        f'{BOUND if is_bound else ""}{row["iteration_ms"]:.1f}',
        '–' if is_bound else f'{row["roofline"]:.0%}',
        f'{found}{row["tick_ms"]:.0f}',
        f'{"≤ " if is_bound else found}{1e3 / row["tick_ms"]:.3g}',
    )  # fmt: skip


def _sentence(row: Mapping[str, Any]) -> str:
    about = dict(zip(COLUMNS, cells(row), strict=True))
    return (
        f'{about["model"]}, {about["planner"]}, T = {about["T"]}, {about["plans"]} plans, '
        f'{about["iterations"]} iterations: image to action {about["image to action, ms"]} ms, '
        f'encode {about["encode, ms"]} of it; an iteration {about["an iteration, ms"]} ms, '
        f'{about["of the roofline"]} of the roofline; a tick {about["a tick, ms"]} ms, '
        f'{about["ticks a second"]} a second'
    )


def markdown(rows: list[Mapping[str, Any]], *, heading: str, best: Roofline, sizes: str) -> str:
    """The table as a part of a page.

    :param heading: command, machine and versions
    :param sizes: of the models, in words
    """
    lines = [
        heading, '',
        f'{sizes}. The device at best: {1e-9 * best.flops:.0f} GFLOP/s in float32, '
        f'{1e-9 * best.bytes:.0f} GB/s.', '',
        '| ' + ' | '.join(COLUMNS) + ' |', '|' + '---|' * len(COLUMNS),
    ]  # fmt: skip
    return '\n'.join(lines + ['| ' + ' | '.join(cells(row)) + ' |' for row in rows])


@click.command()
@click.option('--model', 'names', multiple=True, type=click.Choice(sorted(SIZES)),
              default=sorted(SIZES, reverse=True), show_default=True,
              help='Whose size; may be given more than once.')
@click.option('--horizon', 'horizons', multiple=True, type=click.IntRange(min=1),
              default=(5, 10, 20, 40), show_default=True,
              help='Of GRASP, in model steps of half a second; may be given more than once.')
@click.option('--restarts', multiple=True, type=click.IntRange(min=1), default=(1, 4),
              show_default=True, help='Of GRASP; may be given more than once.')
@click.option('--device', default='cpu', show_default=True, help='Where the model runs.')
@click.option('--threads', type=click.IntRange(min=1), default=os.cpu_count(), show_default=True,
              help='Of torch on the CPU.')
@click.option('--json', 'json_file', type=click.Path(dir_okay=False, path_type=Path),
              help='Write the numbers to this file.')
@click.option('--markdown', 'page_file', type=click.Path(dir_okay=False, path_type=Path),
              help='Write the table into this page, between the marks "large models".')
def command(
    names: tuple[str, ...], horizons: tuple[int, ...], restarts: tuple[int, ...], device: str,
    threads: int, json_file: Path | None, page_file: Path | None,
) -> None:
    """Time GRASP and CEM on models as large as LeWM and DINO-WM, with random weights."""
    console = Console()
    torch.set_num_threads(threads)
    try:
        place = torch.device(device)
        best = roofline(place)
    except (RuntimeError, AssertionError) as error:  # how torch says "no such device"
        raise click.BadParameter(f'{device}: {error}', param_hint='--device') from error
    rows, sizes = [], []
    for name in names:
        model = make(name, place)
        count = 1e-6 * sum(parameter.numel() for parameter in model.parameters())
        sizes.append(f'{name}: {count:.1f} M parameters')
        wanted = list(cases(horizons, restarts))
        for case in track(wanted, description=sizes[-1], console=console, transient=True):
            with torch.no_grad():
                rows.append(measure(model, case, best))
            console.print(_sentence(rows[-1]), highlight=False)
    heading = page.heading(
        'grasp-ros large-models '
        + ' '.join(
            [f'--model {name}' for name in names]
            + [f'--horizon {horizon}' for horizon in horizons]
            + [f'--restarts {count}' for count in restarts]
            + [f'--device {device}', f'--threads {threads}']
        )
    )
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        report = {'heading': heading, 'roofline': asdict(best), 'rows': rows}
        json_file.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    if page_file is not None:
        text = markdown(rows, heading=heading, best=best, sizes='; '.join(sizes))
        page.write_part(page_file, PART, text)
