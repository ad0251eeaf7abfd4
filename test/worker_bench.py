# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A worker thread on a model that can be made to hang and to fail, for tests of it."""

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
from builtin_interfaces.msg import Time

from grasp_ros.control.controller import Controller, TickStatus
from grasp_ros.control.history import Frame
from grasp_ros.node import goals, parameters, tables
from grasp_ros.node.settings import Settings
from grasp_ros.node.worker import Arrival, Worker
from grasp_ros.planners.grasp import Grasp
from grasp_ros.world_models.base import ActionSpec, CameraSpec, LatentModel, ModelCard

LIMIT_SEC = 20.0
CARD = ModelCard(
    name='point',
    architecture={'type': 'point'},
    cameras={'top': CameraSpec(height=1, width=2)},
    actions=(ActionSpec('linear.x', 'm/s', -0.3, 0.3), ActionSpec('linear.y', 'm/s', -0.3, 0.3)),
    latent_shape=(2,),
    model_step_sec=0.02,
    latent_scale=0.3,
    goal_tolerance=1e-3,
)
MIDDLE = np.full((1, 2, 3), 128, dtype=np.uint8)
RIGHT = MIDDLE + np.array([[[80], [0]]], dtype=np.uint8)
LEFT = MIDDLE - np.array([[[80], [0]]], dtype=np.uint8)


class Point(LatentModel):
    """A point in the plane, its place written into two pixels; can be made to fail or to hang."""

    def __init__(self, card=CARD):
        super().__init__(card)
        self.failure = None
        self.is_blind = False  # what it makes of pictures is not finite
        self.seen = []  # first pixel of the frames of each observation, oldest first
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.is_held = threading.Event()

    def encode(self, observation):
        self.seen.append(tuple(observation.images['top'][0, :, 0, 0, 0].tolist()))
        latent = observation.images['top'][:, -1, 0, :, 0].float() / 255
        return latent * torch.nan if self.is_blind else latent

    def predict(self, context, actions):
        if self.failure:
            raise self.failure
        if not self.may_go_on.is_set():
            self.is_held.set()
            assert self.may_go_on.wait(LIMIT_SEC)
        return context[:, -1] + 0.1 * actions[:, -1, 0]


class Goal(goals.Goal):
    """A goal that keeps its end to itself."""

    def __init__(self, number, picture):
        super().__init__(number, Frame({'top': picture}, 0.0))
        self.end = None

    def _tell(self, end):
        self.end = end


class Bench:
    """A worker, what feeds it with frames, and what it sent."""

    def __init__(self, card=CARD, **changes):
        self.reports = []
        self.picture = MIDDLE
        self.now_sec = time.monotonic
        self.share = 1.0  # of a command that the gate passes on
        self.model = Point(card)
        self.values = parameters.defaults(tables.MPC) | {
            'planner.horizon': 5, 'planner.iterations': 2, 'control.deadline_sec': 0.02,
        } | changes  # fmt: skip
        settings = self.settings()
        planner = Grasp(self.model, settings.planner)
        self.controller = Controller(
            model=self.model, planner=planner, limits=settings.limits, config=settings.controller
        )
        quiet = SimpleNamespace(**dict.fromkeys(('info', 'warning', 'error'), lambda text: None))
        self.worker = Worker(
            controller=self.controller,
            settings=settings,
            sink=SimpleNamespace(send=self.reports.append),
            now_sec=lambda: self.now_sec(),
            logger=quiet,
            passed=lambda: self.share,
        )
        self.worker.start()

    def settings(self, **changes):
        self.values |= changes
        return Settings.from_values(self.values, CARD)

    def see(self):
        now_sec = time.monotonic()
        self.worker.offer_frame(Arrival(Frame({'top': self.picture}, now_sec), Time(), now_sec))

    def wait_for(self, condition, *, seeing=True):
        until_sec = time.monotonic() + LIMIT_SEC
        while not condition():
            assert time.monotonic() < until_sec, 'not in time'
            if seeing:
                self.see()
            time.sleep(0.005)

    def wait_for_next(self, condition, **options):
        """The first report from now on for which a condition holds."""
        seen = len(self.reports)
        self.wait_for(lambda: any(map(condition, self.reports[seen:])), **options)
        return next(report for report in self.reports[seen:] if condition(report))


@contextmanager
def benches():
    """Makes benches, and stops their workers."""
    torch.set_num_threads(1)
    made = []

    def make(card=CARD, **changes):
        made.append(Bench(card, **changes))
        return made[-1]

    yield make
    for entry in made:
        entry.model.may_go_on.set()
        assert entry.worker.stop(LIMIT_SEC)


def moves_right(report):
    return report.tick.status is TickStatus.SOLVED and report.tick.action[0] > 0.05


def moves_left(report):
    return report.tick.status is TickStatus.SOLVED and report.tick.action[0] < -0.05
