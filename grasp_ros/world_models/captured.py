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

from grasp_ros.errors import ModelError

MOST_GRAPHS = 128  # of one model; what comes in still other shapes is launched call by call
_here = threading.local()  # is_inside: whether this thread is about to capture, or captures


class Graph:
    """Work that was captured; :meth:`Graphs.capture` makes it.

    :param results: what the work gave, the same tensors after every replay
    """

    def __init__(self, graph: torch.cuda.CUDAGraph, results: Any) -> None:
        self._graph = graph
        self._results = results

    def replay(self) -> Any:
        """Do the work once more; what it gives must not be needed after the next replay."""
        self._graph.replay()
        return self._results


class Graphs:
    """All graphs of one model: they share memory and a stream, and go with it, together.

    Together, because the end of one takes the workspaces of its stream away, in which another may
    compute (pytorch issue 193402). They may share memory because no two run at a time.

    :param device: of the model
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()
        self._kept: list[Graph] = []

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def is_full(self) -> bool:
        """Whether no more should be captured."""
        return len(self) >= MOST_GRAPHS

    def capture(
        self, work: Callable[[], Any], *, generator: torch.Generator | None = None
    ) -> Graph:
        """Record work on tensors that stay where they are.

        :param work: is done once before it is recorded
        :param generator: of the random numbers in it; a replay draws as many as the work would
        :raises ModelError: when the work does what cannot be captured, such as asking the device
            for a number
        """
        try:
            captured = self._capture(work, generator)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ModelError(
                f'not to be captured in a CUDA graph: {reason}; without: model.cuda_graphs: false'
            ) from error
        self._kept.append(captured)
        return captured

    def _capture(self, work: Callable[[], Any], generator: torch.Generator | None) -> Graph:
        state = None if generator is None else generator.get_state()
        present, stream = torch.cuda.current_stream(self.device), self._stream
        stream.wait_stream(present)
        graph = torch.cuda.CUDAGraph()
        _here.is_inside = True
        try:
            with torch.cuda.stream(stream):
                work()  # what libraries set up at a first call cannot be captured
            present.wait_stream(stream)
            if generator is not None:
                generator.set_state(state)
                graph.register_generator_state(generator)
            # Other threads may go on meanwhile.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=stream, capture_error_mode='thread_local'
            ):
                results = work()
        finally:
            _here.is_inside = False
        return Graph(graph, results)


class Captured:
    """A function of tensors, replayed as a graph from the second call of the same shapes on.

    It is the function itself where something is differentiated, and inside of another capture.

    :param function: pure; takes tensors and constants, and gives a tensor or a tuple of them
    :param graphs: of the model that it is about
    """

    def __init__(self, function: Callable[..., Any], graphs: Graphs) -> None:
        self._function = function
        self._graphs = graphs
        self._captured: dict[tuple, tuple[Graph, list[Tensor]]] = {}
        self._seen: set[tuple] = set()
        # The inputs of a graph are there once, whichever thread calls.
        self._lock = threading.Lock()

    def __call__(self, *inputs: Any) -> Any:
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        is_differentiated = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        if is_differentiated or getattr(_here, 'is_inside', False):
            return self._function(*inputs)
        key = tuple(
            (value.shape, value.dtype) if isinstance(value, Tensor) else value for value in inputs
        )
        with self._lock:
            if key not in self._captured:
                if self._graphs.is_full:
                    return self._function(*inputs)
                if key not in self._seen:
                    self._seen.add(key)
                    return self._function(*inputs)
                self._captured[key] = self._capture(inputs)
            graph, places = self._captured[key]
            torch._foreach_copy_(places, tensors)
            results = graph.replay()
            if isinstance(results, Tensor):
                return results.clone()
            return tuple(result.clone() for result in results)

    def _capture(self, inputs: tuple[Any, ...]) -> tuple[Graph, list[Tensor]]:
        given = [
            value.clone(memory_format=torch.contiguous_format)
            if isinstance(value, Tensor) else value
            for value in inputs
        ]  # fmt: skip
        graph = self._graphs.capture(lambda: self._function(*given))
        return graph, [value for value in given if isinstance(value, Tensor)]


def memory_bytes(device: torch.device) -> int | None:
    """The most that torch has taken of the GPU's memory so far, what it keeps for later included.

    None on the CPU.
    """
    return torch.cuda.max_memory_reserved(device) if device.type == 'cuda' else None
