# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Jobs in worker processes, one thread of torch each, with progress."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@dataclass(frozen=True)
class Job:
    """A call in a worker process.

    :param name: for the progress line
    :param call: an importable function
    :param arguments: that it gets
    :param cost: of the job in relation to others, for the estimate of what is left
    """

    name: str
    call: Callable[..., None]
    arguments: tuple[Any, ...]
    cost: float = 1.0


def run_jobs(jobs: Sequence[Job], *, title: str, processes: int) -> None:
    """Run jobs, dear ones first, in this process if there is to be but one.

    :raises Exception: what a job raised; the others that run are finished first
    """
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn(), TimeRemainingColumn(elapsed_when_finished=True))
    ordered = sorted(jobs, key=lambda job: -job.cost)
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=600) as bar:
        cells = bar.add_task(title, total=len(ordered))
        if processes == 1:
            torch.set_num_threads(1)
            for job in ordered:
                bar.update(cells, description=f'{title}: {job.name}')
                job.call(*job.arguments)
                bar.advance(cells)
            return
        context = multiprocessing.get_context('spawn')
        with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin) as pool:
            waiting = {pool.submit(job.call, *job.arguments): job for job in ordered}
            try:
                for done in as_completed(waiting):
                    done.result()
                    bar.update(cells, advance=1, description=f'{title}: {waiting[done].name}')
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _begin() -> None:
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        # A parent that is killed leaves its workers waiting for ever.
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
