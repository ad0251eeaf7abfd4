# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bare timer, and processes that do nothing but load the machine; for measurements.

What a process that only sleeps sees of the machine is the measure for one that works: what the
timer is late by, no controller in Python can make good. Run as a module it is that timer: it
writes a line for each period, when it was due (as ROS time) and how late it was, in seconds.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# Ends with its parent, however that ends.
_LOAD = 'import os, sys\nwhile os.getppid() == int(sys.argv[1]): sum(range(100_000))'


@contextlib.contextmanager
def running(period_sec: float, file: Path) -> Iterator[None]:
    """Let a bare timer run inside the block.

    :param file: that it writes
    """
    command = [sys.executable, '-m', __name__, str(os.getpid()), str(period_sec), str(file)]
    with _process(command):
        yield


@contextlib.contextmanager
def load(processes: int) -> Iterator[None]:
    """Keep so many processes busy inside the block."""
    with contextlib.ExitStack() as stack:
        for _ in range(processes):
            stack.enter_context(_process([sys.executable, '-c', _LOAD, str(os.getpid())]))
        yield


def read(file: Path) -> list[tuple[float, float]]:
    """What a timer has written: due, late; s. Its last line may be half a one."""
    lines = file.read_text(encoding='ascii').split('\n')[:-1] if file.is_file() else []
    return [tuple(map(float, line.split())) for line in lines]


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[None]:
    # In a session of its own, as the nodes are: where the kernel shares the processor between
    # sessions (sched_autogroup), each process then counts as much as a node.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """The timer, until it is killed or its parent has ended."""
    parent, period_sec, file = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    due_sec = time.monotonic()
    with open(file, 'w', encoding='ascii', buffering=1) as output:
        while os.getppid() == parent:
            due_sec += period_sec
            time.sleep(max(0.0, due_sec - time.monotonic()))
            late_sec = time.monotonic() - due_sec
            output.write(f'{time.time() - late_sec:.6f} {late_sec:.6f}\n')
            # After a stall on with the next period, as the controller.
            due_sec += period_sec * (late_sec // period_sec)


if __name__ == '__main__':
    main()
