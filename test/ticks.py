# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A few ticks of a controller with any model, on pictures that mean nothing."""

import numpy as np

from grasp_ros.control.config import ControllerConfig
from grasp_ros.control.controller import Controller
from grasp_ros.control.history import Frame
from grasp_ros.planners import registry
from grasp_ros.training.evaluate import card_limits


def drive(model, ticks=12, planner='grasp'):
    """A controller's ticks on random pictures; the same in every call."""
    card = model.card
    limits = card_limits(model)
    small = {'horizon': 4, 'iterations': 2, 'samples': 12, 'sync_every': 2}
    settings = {name: small[name] for name in registry.settings_of(planner) if name in small}
    planner = registry.make(planner, model, **settings)
    config = ControllerConfig(deadline_sec=0.0, unforeseen_frames=0)
    controller = Controller(
        model=model, planner=planner, limits=limits, config=config, clock=lambda: 0.0
    )
    source = np.random.default_rng(0)
    (name, camera), = card.cameras.items()

    def frame(stamp_sec):
        shape = (camera.height, camera.width, 3)
        return Frame({name: source.integers(0, 256, shape, dtype=np.uint8)}, stamp_sec)

    controller.set_goal(controller.encode_goal(frame(0.0)))
    given = []
    for n in range(ticks):
        stamp_sec = n * card.control_period_sec
        given.append(controller.step(frame(stamp_sec), now_sec=stamp_sec))
        controller.prepare()
    return given
