# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``grasp-ros rates``: what rate a model allows on a device, and to which planner.

GRASP with preparation and feedback, beside CEM with the papers' sample counts and with few, on
any model, or on networks of published shapes with random weights: the numbers that come out mean
nothing then, what they cost does. Needs no ROS.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count as count_up
from itertools import islice, product
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from grasp_ros import page
from grasp_ros.benchmark.rates_table import BOUND, MEASURED, SCALED, markdown, sentence
from grasp_ros.benchmark.roofline import Roofline, roofline, weight_bytes
from grasp_ros.benchmark.sized import SIZES
from grasp_ros.benchmark.sized import make as make_sized
from grasp_ros.control.controller import Controller, ControllerConfig
from grasp_ros.control.history import Frame
from grasp_ros.errors import GraspError
from grasp_ros.planners import registry
from grasp_ros.planners.base import Deadline, Planner, Problem
from grasp_ros.training.evaluate import card_limits, writable
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.accelerated import PRECISIONS, accelerate
from grasp_ros.world_models.base import WorldModel
from grasp_ros.world_models.captured import memory_bytes

PART = 'rates'  # of the page
WARM_UP, TICKS = 1, 3
ENOUGH_SEC = 1.0  # of ticks on a GPU
LONGEST_SEC = 20.0  # of a tick that is still driven
LONGEST_ITERATION_SEC = 5.0  # at the roofline, of one that is still timed
GRASP_ITERATIONS = 10
MOST_FLOPS_OF_CPU = 1e12  # of a solve that is compared with one on the CPU
# Few samples, that real time may allow, and those of LeWM's and DINO-WM's papers.
CEM = (
    {'horizon': 5, 'samples': 64, 'elites': 8, 'iterations': 2},
    {'horizon': 5, 'samples': 300, 'elites': 30, 'iterations': 30},
)


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

    def flops(self, model: WorldModel) -> float:
        """Of one iteration, at least: predictor calls alone, with their derivative for GRASP."""
        card = model.card
        context = torch.zeros((1, card.history, *card.latent_shape), device=model.device)
        actions = torch.zeros(
            (1, card.history, card.action_block, card.action_size), device=model.device
        )
        with FlopCounterMode(display=False) as counter:
            latents, pullback = model.predict_with_vjp(context, actions)
            if self.is_ahead:
                pullback(latents)
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


def cases(horizons: Sequence[int], restarts: Sequence[int]) -> Iterator[Case]:
    """GRASP with every number of restarts and every horizon, then CEM."""
    for count, horizon in product(restarts, horizons):
        settings = {'horizon': horizon, 'restarts': count, 'samples': count - 1}
        yield Case('grasp', {**settings, 'iterations': GRASP_ITERATIONS})
    for settings in CEM:
        yield Case('cem', settings)


def measure(
    make: Callable[[], WorldModel], case: Case, best: Roofline, *,
    reference: WorldModel | None = None,
) -> dict[str, Any]:
    """What is reported of a case, in plain JSON types; times in ms.

    A tick that would take longer than :data:`LONGEST_SEC` is not driven: iterations are added to
    one that has two (``found`` says :data:`SCALED`). Where one alone takes longer than
    :data:`LONGEST_ITERATION_SEC` at best, nothing is timed but the picture, and the roofline's
    bound is given (:data:`BOUND`).

    :param make: gives the model, with nothing captured yet
    :param reference: the same model on the CPU, to be planned with too; GRASP alone
    """
    model = make()
    if model.device.type == 'cuda':
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(model.device)
    flops, count = case.flops(model), case.settings['iterations']
    # GRASP reads the weights once more on the way back.
    read = weight_bytes(model) * (2 if case.is_ahead else 1)
    bound_sec = best.bound_sec(flops=flops, read=read)
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
    row = {
        'model': model.card.name, 'planner': case.planner, **case.settings, 'plans': case.plans,
        'found': found, 'encode_ms': 1e3 * times.encode_sec, 'action_ms': 1e3 * times.action_sec,
        'iteration_ms': 1e3 * one_sec, 'tick_ms': 1e3 * times.tick_sec,
        'roofline': _share(bound_sec, one_sec),
    }  # fmt: skip
    if model.device.type == 'cuda':
        kernels = 0 if found == BOUND else _kernels(model, case)
        row |= {
            'kernels': kernels, 'launches': _share(kernels / best.kernels, one_sec),
            'memory_gib': memory_bytes(model.device) / 2**30, 'from_cpu': None,
        }  # fmt: skip
        if reference is not None and case.is_ahead and found == MEASURED:
            row['from_cpu'] = _difference(model, reference, case)
    return row


def _share(bound_sec: float, one_sec: float) -> float | None:
    """None where an iteration drowned in what the rest of a tick varies by."""
    return bound_sec / one_sec if one_sec > bound_sec else None


def _pictures(model: WorldModel) -> Iterator[Frame]:
    """Noise, a model step apart."""
    card, random = model.card, np.random.default_rng(0)
    signals = np.zeros(len(card.proprioception)) if card.proprioception else None
    for n in count_up():
        images = {
            name: random.integers(0, 256, (spec.height, spec.width, 3), np.uint8)
            for name, spec in card.cameras.items()
        }
        yield Frame(images, n * card.model_step_sec, signals)


def _controller(model: WorldModel, planner: Planner, *, ahead: bool) -> Controller:
    config = ControllerConfig(
        schedule='ahead' if ahead else 'after_frame',
        # What noise foresees is no reason to stop; and the clock stands while it computes.
        unforeseen_frames=0, frozen_frames=0, drop_innovation=0.0, latency_compensation=False,
    )  # fmt: skip
    return Controller(model=model, planner=planner, limits=card_limits(model), config=config)


def _encode_sec(model: WorldModel) -> float:
    controller = _controller(model, registry.make('greedy', model), ahead=False)
    times = []
    warm_up, ticks = _counts(model)
    for frame in islice(_pictures(model), warm_up + ticks):
        times.append(controller.step(frame, now_sec=frame.stamp_sec).encode_sec)
    return float(np.median(times[warm_up:]))


def _counts(model: WorldModel) -> tuple[int, int]:
    """Ticks that do not count, since graphs are captured in them, and ticks that do."""
    return (4, 20) if model.device.type == 'cuda' else (WARM_UP, TICKS)


def _timed(model: WorldModel, case: Case, *, iterations: int) -> Times:
    planner = registry.make(case.planner, model, **{**case.settings, 'iterations': iterations})
    controller = _controller(model, planner, ahead=case.is_ahead)
    pictures = _pictures(model)
    controller.set_goal(controller.encode_goal(next(pictures)))
    warm_up, most = _counts(model)
    times: list[tuple[float, float, float]] = []
    begun_sec = _now(model)
    for frame in islice(pictures, warm_up + most):
        started_sec = _now(model)
        tick = controller.step(frame, now_sec=frame.stamp_sec)
        acted_sec = _now(model)
        controller.prepare()
        times.append((tick.encode_sec, acted_sec - started_sec, _now(model) - acted_sec))
        if len(times) >= warm_up + TICKS and _now(model) - begun_sec > ENOUGH_SEC:
            break
    return Times(*map(float, np.median(times[warm_up:], axis=0)))


def _kernels(model: WorldModel, case: Case) -> int:
    """What an iteration launches on a GPU, copies among it."""
    counts = []
    for iterations in (1, 2):
        planner = registry.make(case.planner, model, **{**case.settings, 'iterations': iterations})
        problem = _problem(model)
        for _ in range(3):  # the third is a replay
            with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as seen:
                planner.solve(problem, None, Deadline())
                torch.cuda.synchronize(model.device)
        counts.append(sum(event.device_type == DeviceType.CUDA for event in seen.events()))
    return counts[1] - counts[0]


def _now(model: WorldModel) -> float:
    if model.device.type == 'cuda':
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


def _difference(model: WorldModel, reference: WorldModel, case: Case) -> float:
    """How far a solve's actions lie from those of the CPU, in units of half the action range.

    The largest of all entries of all plans, without noise on the lifted states: that is drawn on
    the device.
    """
    found = []
    for one in (reference, model):
        planner = registry.make(case.planner, one, **{**case.settings, 'noise_scale': 0.0})
        problem = _problem(one)
        for _ in range(1 if one is reference else 3):  # the third is a replay
            plan = planner.solve(problem, None, Deadline())
        found.append((plan.branches.actions / problem.limits.half_range).cpu())
    return float((found[0] - found[1]).abs().max())


def _problem(model: WorldModel) -> Problem:
    """Between latents that mean nothing; the same on all devices."""
    random, card = torch.Generator().manual_seed(0), model.card
    latents = torch.randn((card.history + 1, *card.latent_shape), generator=random)
    latents = (card.latent_scale * latents).to(model.device)
    still = latents.new_zeros(card.action_size)
    return Problem(
        context=latents[:-1], goal=latents[-1], limits=card_limits(model), previous_action=still,
        safe_action=still,
        past_actions=latents.new_zeros((card.history - 1, card.action_block, card.action_size)),
    )


@click.command()
@click.option('--model', 'names', multiple=True, default=sorted(SIZES, reverse=True),
              show_default=True,
              help='Any model, or "lewm" or "dino-wm": random weights in as many numbers; may be '
              'given more than once.')
@click.option('--horizon', 'horizons', multiple=True, type=click.IntRange(min=1),
              default=(5, 10, 20, 40), show_default=True,
              help='Of GRASP, in model steps; may be given more than once.')
@click.option('--restarts', multiple=True, type=click.IntRange(min=1), default=(1, 4),
              show_default=True, help='Of GRASP; may be given more than once.')
@click.option('--cem/--no-cem', 'with_cem', default=True, show_default=True,
              help='Whether CEM is timed beside it.')
@click.option('--device', default='cpu', show_default=True, help='Where the model runs.')
@click.option('--precision', 'precisions', multiple=True, type=click.Choice(list(PRECISIONS)),
              default=('float32',), show_default=True, help='May be given more than once.')
@click.option('--cuda-graphs/--call-by-call', default=True, show_default=True,
              help='How work is launched on a GPU.')
@click.option('--threads', type=click.IntRange(min=1), default=os.cpu_count(), show_default=True,
              help='Of torch on the CPU.')
@click.option('--json', 'json_file', type=click.Path(dir_okay=False, path_type=Path),
              callback=writable, help='Write the numbers to this file.')
@click.option('--markdown', 'page_file', type=click.Path(dir_okay=False, path_type=Path),
              help='Write the table into this page, between the marks "rates".')
def command(
    names: tuple[str, ...], horizons: tuple[int, ...], restarts: tuple[int, ...], with_cem: bool,
    device: str, precisions: tuple[str, ...], cuda_graphs: bool, threads: int,
    json_file: Path | None, page_file: Path | None,
) -> None:  # fmt: skip
    """Time GRASP and CEM on a model: yours, or one as large as LeWM or DINO-WM."""
    console = Console()
    torch.set_num_threads(threads)
    try:
        place = torch.device(device)
        best = {precision: roofline(place, precision) for precision in precisions}
    except (RuntimeError, AssertionError) as error:  # how torch says "no such device"
        raise click.BadParameter(f'{device}: {error}', param_hint='--device') from error
    if page_file is not None:
        try:
            page.around_part(page_file, PART)
        except GraspError as error:
            raise click.BadParameter(str(error), param_hint='--markdown') from error
    rows, sizes, problems = [], [], []

    def time_model(name: str, precision: str) -> None:
        make = partial(_load, name, place, precision, cuda_graphs=cuda_graphs)
        model, reference = make(), None
        if place.type == 'cuda' and precision == 'float32':
            reference = _load(name, torch.device('cpu'), precision, cuda_graphs=False)
        count = 1e-6 * sum(parameter.numel() for parameter in model.parameters())
        wanted = [
            (case, case.flops(model)) for case in cases(horizons, restarts)
            if with_cem or case.is_ahead
        ]  # fmt: skip
        del model  # or its memory counts twice
        sizes.append(f'{name}: {count:.2f} M parameters, {precision}')
        for case, flops in track(wanted, description=sizes[-1], console=console, transient=True):
            beside = reference
            if flops * case.settings['iterations'] > MOST_FLOPS_OF_CPU:
                beside = None
            with torch.no_grad():
                row = measure(make, case, best[precision], reference=beside)
            rows.append({**row, 'model': f'{row["model"]}, {precision}'})
            console.print(sentence(rows[-1]), highlight=False)

    for name, precision in product(names, precisions):
        try:
            time_model(name, precision)
        except GraspError as error:  # what others gave is kept
            problems.append(f'{name}, {precision}: {error}')
    heading = page.heading(
        'grasp-ros rates '
        + ' '.join(
            [f'--model {name}' for name in names]
            + [f'--horizon {horizon}' for horizon in horizons]
            + [f'--restarts {count}' for count in restarts]
            + ([] if with_cem else ['--no-cem'])
            + [f'--device {device}']
            + [f'--precision {precision}' for precision in precisions]
            + ([] if cuda_graphs else ['--call-by-call'])
            + [f'--threads {threads}']
        )
    )
    if place.type == 'cuda':
        heading += f' {torch.cuda.get_device_name(place)}.'
    if json_file is not None and rows:
        report = {
            'heading': heading, 'rows': rows,
            'roofline': {precision: asdict(one) for precision, one in best.items()},
        }  # fmt: skip
        json_file.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    if page_file is not None and rows:
        text = markdown(rows, heading=heading, best=best, sizes='; '.join(sizes))
        page.write_part(page_file, PART, text)
    if problems:
        raise click.ClickException('\n'.join(problems))


def _load(
    name: str, device: torch.device, precision: str, *, cuda_graphs: bool
) -> WorldModel:
    if name in SIZES:
        return accelerate(
            make_sized(name, device), precision=precision, cuda_graphs=cuda_graphs
        )
    return checkpoint.load(name, device=device, precision=precision, cuda_graphs=cuda_graphs)
