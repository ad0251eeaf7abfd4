# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A world model that is exact for any part of a step, and the plant that it models.

A cart that moves with the commanded velocity. What a controller foresees for it, whatever the
delay, is what it sees, up to the sixteen bits of its picture.
"""

import numpy as np
import tiny_world
import torch

from grasp_ros.control.config import ControllerConfig
from grasp_ros.control.controller import Controller
from grasp_ros.control.history import Frame
from grasp_ros.planners import registry
from grasp_ros.world_models.base import ActionSpec, CameraSpec, LatentModel, ModelCard

PERIOD_SEC = 0.1
GRASP = {**tiny_world.GRASP, 'horizon': 8, 'iterations': 5, 'samples': 0}


def cart_card(block=1, history=1, **changes) -> ModelCard:
    values = dict(
        name='cart',
        architecture={'type': 'cart'},
        cameras={tiny_world.CAMERA: CameraSpec(height=2, width=4)},
        actions=(ActionSpec('x', 'm/s', -0.3, 0.3), ActionSpec('y', 'm/s', -0.3, 0.3)),
        latent_shape=(2,),
        model_step_sec=block * PERIOD_SEC,
        action_block=block,
        history=history,
        latent_scale=0.3,
        goal_tolerance=0.002,
    )
    return ModelCard(**{**values, **changes})


class CartModel(LatentModel):
    """A place that moves with the commanded velocity: exact for any part of a step."""

    def encode(self, observation):
        image = observation.images[tiny_world.CAMERA][:, -1].to(torch.float32)
        return (image[:, 0, :2, 0] * 256 + image[:, 1, :2, 0]) / 65535

    def predict(self, context, actions):
        return context[:, -1] + PERIOD_SEC * actions[:, -1].sum(dim=1)


class Cart:
    """What the model models, and every command takes effect late."""

    def __init__(self, delay_sec=0.0, place=(0.2, 0.3)):
        self.place, self.now_sec = np.array(place, dtype=float), 0.0
        self.delay_sec = delay_sec
        self.command = np.zeros(2)
        self.waiting = []

    def frame(self):
        image = tiny_world.picture(self.place)
        return Frame({tiny_world.CAMERA: image}, stamp_sec=self.now_sec)

    def step(self, action, steps=1):
        if action is not None:
            self.waiting.append((self.now_sec + self.delay_sec, np.array(action)))
        then_sec = self.now_sec + steps * PERIOD_SEC
        while self.waiting and self.waiting[0][0] < then_sec - 1e-9:
            at_sec, command = self.waiting.pop(0)
            self._pass(at_sec)
            self.command = command
        self._pass(then_sec)

    def _pass(self, then_sec):
        self.place += max(0.0, then_sec - self.now_sec) * self.command
        self.now_sec = max(self.now_sec, then_sec)


def make_controller(model, **config) -> Controller:
    controller = Controller(
        model=model,
        planner=registry.make('grasp', model, **GRASP),
        limits=tiny_world.limits(),
        config=ControllerConfig(**config),
    )
    frame = Frame({tiny_world.CAMERA: tiny_world.picture((0.7, 0.6))}, 0.0)
    if model.card.proprioception:
        frame = Frame(frame.images, 0.0, proprioception=np.array([0.7]))
    controller.set_goal(controller.encode_goal(frame))
    return controller
