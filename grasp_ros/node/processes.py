# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Starts and stops nodes as child processes, for the demo and for tests."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from grasp_ros.node import transport
from grasp_ros.node.parameters import literal

STOP_SEC = 10.0
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def environment(*, domain_id: int | None = None) -> dict[str, str]:
    """Environment for a node: this machine only, no shared memory, and one ROS 2, not two.

    Where rclpy comes from pip, paths of a ROS 2 installation that is sourced as well would mix two
    sets of libraries, which crashes; they are taken out. Where it comes from an installation, its
    paths stay.

    :param domain_id: ROS domain; None = the present one
    """
    env = dict(os.environ)
    if is_from_pip():
        env['AMENT_PREFIX_PATH'] = sys.prefix
        env['PYTHONPATH'] = str(_PACKAGE_ROOT)
        # The wheels' bootstrapper sets the library path anew when its mark is missing.
        for name in ('LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE'):
            env.pop(name, None)
    env['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    # Several processes on few cores: more threads than one each only get in each other's way.
    env.setdefault('OMP_NUM_THREADS', '1')
    if domain_id is not None:
        env['ROS_DOMAIN_ID'] = str(domain_id)
    transport.leave_shared_memory(env)
    return env


def own_domain(number: int = 0) -> int:
    """A ROS domain in which a robot on this machine neither hears nor is heard.

    The ports of domains 1 to 100 lie below the ephemeral ones.

    :param number: of this process's domains, from 0
    """
    return 1 + (os.getpid() + number) % 100


def is_from_pip() -> bool:
    """Whether rclpy and the messages belong to this Python environment.

    Otherwise they are those of a ROS 2 installation or of a workspace that colcon built, and the
    nodes need its paths.
    """
    found = [importlib.util.find_spec(name) for name in ('rclpy', 'grasp_ros.msg')]
    return all(spec and Path(spec.origin).is_relative_to(sys.prefix) for spec in found)


class NodeProcess:
    """A node of this package in a process of its own, in a session of its own.

    :param node: ``mpc_node``, ``gate_node``, ``sim_node`` or ``excite_node``, or a module that
        runs such a node
    :param log: file that its output is appended to
    :param env: from :func:`environment`
    :param parameters: name -> value
    :param params_file: YAML file with parameters; ``parameters`` come before it
    :param namespace: e.g. ``/robot1``
    :param remap: topic -> other topic
    """

    def __init__(
        self,
        node: str,
        *,
        log: Path,
        env: Mapping[str, str],
        parameters: Mapping[str, Any] | None = None,
        params_file: Path | None = None,
        namespace: str = '',
        remap: Mapping[str, str] | None = None,
    ) -> None:
        self.node = node
        self.log = Path(log)
        arguments = []
        if params_file is not None:
            arguments += ['--params-file', str(params_file)]
        for name, value in (parameters or {}).items():
            arguments += ['-p', f'{name}:={literal(value)}']
        for before, after in (remap or {}).items():
            arguments += ['-r', f'{before}:={after}']
        if namespace:
            arguments += ['-r', f'__ns:={namespace}']
        module = node if '.' in node else f'grasp_ros.node.{node}'
        command = [sys.executable, '-m', module, '--ros-args', *arguments]
        with self.log.open('ab') as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal, None while it runs."""
        return self._process.poll()

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    def memory_kb(self) -> int:
        """Its resident memory.

        :raises OSError: when it has ended
        """
        status = Path(f'/proc/{self.pid}/status').read_text(encoding='ascii')
        (line,) = (line for line in status.splitlines() if line.startswith('VmRSS'))
        return int(line.split()[1])

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGINT, *, timeout_sec: float = STOP_SEC) -> int:
        """Ask it to end, kill it when it does not; its exit code."""
        self.ask_to_end(number)
        return self.end(timeout_sec)

    def ask_to_end(self, number: int = signal.SIGINT) -> None:
        """Ask it to end, without waiting until it has."""
        if self.is_running:
            self.send_signal(signal.SIGCONT)  # a stopped process takes no other signal
            self.send_signal(number)

    def end(self, timeout_sec: float = STOP_SEC) -> int:
        """Wait until it has ended, as it was asked to, and kill it when it does not; its exit
        code.
        """
        try:
            self._process.wait(timeout_sec)
        except subprocess.TimeoutExpired:
            self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """End it at once, and all that it may have started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def log_text(self) -> str:
        """What it has written so far."""
        return self.log.read_text(encoding='utf-8', errors='replace')


def stop_all(processes: Sequence[NodeProcess]) -> None:
    """Stop processes at the same time; the last one is asked first."""
    for process in reversed(processes):
        process.ask_to_end()
    for process in processes:
        process.end()


@contextlib.contextmanager
def stopped_at_exit(processes: Sequence[NodeProcess]) -> Iterator[None]:
    """Stop processes at the end of the block, whatever happens.

    :param processes: may grow inside the block
    """
    try:
        yield
    finally:
        stop_all(processes)
