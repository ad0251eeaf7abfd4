# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs: work on a GPU that is recorded once and launched as one from then on.

A planner's calls are many and small. Launched one by one from Python each costs the host several
microseconds, more than the GPU needs for it; a graph costs one launch for all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MOST_GRAPHS = 32  # of one function; what comes in still other shapes is launched call by call
_here = threading.local()  # is_inside: whether this thread is about to capture, or captures


class Graph:
    """Work on tensors that stay where they are.

    :param work: reads and writes these tensors alone; its results must not be needed after the
        next replay
    :param device: where they lie
    :param generator: of the random numbers in it; a replay draws as many as the work would
    :param pool: of memory that several graphs share whose replays never overlap
    :raises RuntimeError: when the work does what cannot be captured, such as asking the device for
        a number
    """

    def __init__(
        self,
        work: Callable[[], Any],
        *,
        device: torch.device,
        generator: torch.Generator | None = None,
        pool: Any = None,
    ) -> None:
        state = None if generator is None else generator.get_state()
        present, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        stream.wait_stream(present)
        self._graph = torch.cuda.CUDAGraph()
        was_inside, _here.is_inside = _is_inside(), True
        try:
            with torch.cuda.stream(stream):
                work()  # what libraries set up at a first call cannot be captured
            present.wait_stream(stream)
            if generator is not None:
                generator.set_state(state)
                self._graph.register_generator_state(generator)
            # Other threads go on: one encodes a goal while another captures.
            with torch.cuda.graph(
                self._graph, pool=pool, stream=stream, capture_error_mode='thread_local'
            ):
                self.results = work()
        finally:
            _here.is_inside = was_inside

    def replay(self) -> Any:
        """Do the work once more; gives the same tensors each time."""
        self._graph.replay()
        return self.results


class Captured:
    """A function of tensors, replayed as a graph from the second call of the same shapes on.

    It is the function itself on the CPU, where something is differentiated, and inside of another
    capture.

    :param function: pure; takes tensors and constants, and gives a tensor or a tuple of them
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._graphs: dict[tuple, tuple[Graph, list[Tensor]]] = {}
        self._seen: set[tuple] = set()
        self._pool: Any = None
        # A goal is encoded beside the loop, and the inputs of a graph are there once.
        self._lock = threading.Lock()

    def __call__(self, *inputs: Any) -> Any:
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        is_differentiated = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        if not tensors[0].is_cuda or is_differentiated or _is_inside():
            return self._function(*inputs)
        key = tuple(
            (value.shape, value.dtype) if isinstance(value, Tensor) else value for value in inputs
        )
        with self._lock:
            if key not in self._graphs:
                if key not in self._seen or len(self._graphs) == MOST_GRAPHS:
                    self._seen.add(key)
                    return self._function(*inputs)
                self._graphs[key] = self._capture(inputs)
            graph, places = self._graphs[key]
            torch._foreach_copy_(places, tensors)
            results = graph.replay()
            if isinstance(results, Tensor):
                return results.clone()
            return tuple(result.clone() for result in results)

    def _capture(self, inputs: tuple[Any, ...]) -> tuple[Graph, list[Tensor]]:
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        given = [
            value.clone(memory_format=torch.contiguous_format)
            if isinstance(value, Tensor) else value
            for value in inputs
        ]  # fmt: skip
        places = [value for value in given if isinstance(value, Tensor)]
        graph = Graph(
            lambda: self._function(*given), device=places[0].device, pool=self._pool
        )
        return graph, places


def memory_bytes(device: torch.device) -> int | None:
    """The most that torch has taken of the GPU's memory so far, what it keeps for later included.

    None on the CPU.
    """
    return torch.cuda.max_memory_reserved(device) if device.type == 'cuda' else None


def _is_inside() -> bool:
    return getattr(_here, 'is_inside', False)
