# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From parameter values to a controller that is ready to run. No ROS in here."""

from __future__ import annotations

import gc
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from grasp_ros.control.config import ControllerConfig
from grasp_ros.control.controller import Controller
from grasp_ros.control.goal import GoalConfig
from grasp_ros.control.history import Frame
from grasp_ros.control.tick import TickStatus
from grasp_ros.errors import ConfigError, ModelError
from grasp_ros.node.twists import TwistLayout
from grasp_ros.planners import registry
from grasp_ros.planners.base import ActionLimits
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import ModelCard

DEADLINE_RATIO = 0.6  # of the control period; the rest is the margin for a busy machine
_WARM_UP_TICKS = 3
_RATE_TOLERANCE = 1e-6
_TORCH_THREADS = torch.get_num_threads()  # as many as it takes by itself
_CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')


@dataclass(frozen=True)
class Settings:
    """What the worker applies between two ticks.

    :param planner_name: one of :data:`grasp_ros.planners.registry.PLANNERS`
    :param planner: its whole configuration
    :param controller: of the controller
    :param limits: bounds and rate limit of the commands
    :param goal: when a goal is over
    :param goal_fault_timeout_sec: time without image or plan that a goal survives; 0 = any
    """

    planner_name: str
    planner: Any
    controller: ControllerConfig
    limits: ActionLimits
    goal: GoalConfig
    goal_fault_timeout_sec: float

    @classmethod
    def from_values(
        cls, values: Mapping[str, Any], card: ModelCard, device: torch.device | str = 'cpu'
    ) -> Settings:
        """Read the parameters for one model.

        :raises ConfigError: when they contradict each other or the card
        """
        name, planner = planner_settings(values)
        return cls(
            planner_name=name,
            planner=registry.configure(name, **planner),
            controller=_controller_config(values, card),
            limits=_limits(values, card, device),
            goal=GoalConfig(
                tolerance=values['goal.tolerance'] or card.goal_tolerance,
                dwell_sec=values['goal.dwell_sec'],
                timeout_sec=values['goal.timeout_sec'],
                no_progress_sec=values['goal.no_progress_sec'],
            ),
            goal_fault_timeout_sec=values['goal.fault_timeout_sec'],
        )

    def install(self, controller: Controller) -> None:
        """Put them in force; the planner stays, with what it has learned, where it is the same."""
        kind = registry.PLANNERS[self.planner_name].planner
        present = controller.planner
        if type(present) is not kind or present.config != self.planner:
            controller.planner = registry.build(self.planner_name, controller.model, self.planner)
        controller.limits, controller.config = self.limits, self.controller


def check(values: Mapping[str, Any], card: ModelCard | None) -> None:
    """Whether values fit each other and, where it is known already, the model.

    :raises ConfigError: with the reason
    """
    if card is None:
        name, settings = planner_settings(values)
        registry.configure(name, **settings)
        return
    control_period_sec(values, card)
    proprioception_fields(values, card)
    Settings.from_values(values, card)


def planner_settings(values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The planner's name and what it takes: ``planner.<name>.x`` before ``planner.x``."""
    name = values['planner.name']
    settings = {}
    for setting in registry.settings_of(name):
        for parameter in (f'planner.{name}.{setting}', f'planner.{setting}'):
            if parameter in values:
                settings[setting] = values[parameter]
                break
    return name, settings


def control_period_sec(values: Mapping[str, Any], card: ModelCard) -> float:
    """Seconds between two commands, by the card.

    :raises ConfigError: when ``control.rate`` asks for another one
    """
    period_sec, rate = card.control_period_sec, values['control.rate']
    if rate and abs(rate * period_sec - 1.0) > _RATE_TOLERANCE:
        raise ConfigError(
            f'control.rate: {rate} Hz given, but the control period is the model step of '
            f'{card.model_step_sec} s divided by the action block {card.action_block} of model '
            f'{card.name}: write {round(1.0 / period_sec, 6)} or 0.0'
        )
    return period_sec


def twist_layout(values: Mapping[str, Any], card: ModelCard) -> TwistLayout:
    """Which action goes to which field of the twist, and times what.

    :raises ConfigError: when names or their number do not fit
    """
    names = values['control.output_fields'] or [action.name for action in card.actions]
    _check_length('control.output_fields', names, card)
    scales = values['control.output_scales'] or [1.0] * card.action_size
    _check_length('control.output_scales', scales, card)
    return TwistLayout(names, scales)


def proprioception_fields(values: Mapping[str, Any], card: ModelCard) -> list[str]:
    """Where in a joint state each signal is, for :class:`~grasp_ros.node.joints.JointReader`.

    :raises ConfigError: when their number does not fit the card
    """
    names = [signal.name for signal in card.proprioception]
    fields = values['proprioception.fields'] or [f'{name}/position' for name in names]
    if len(fields) != len(names):
        raise ConfigError(
            f'proprioception.fields: {len(fields)} entries given, model {card.name} has '
            f'{len(names)} signals{": " if names else ", leave it empty"}{", ".join(names)}'
        )
    return fields


def camera_topics(card: ModelCard) -> dict[str, str]:
    """Camera -> its topic: ``image_raw``; of several cameras ``<camera>/image_raw``.

    :raises ConfigError: when a name cannot stand in those of a topic and of a saved goal's file
    """
    for name in card.cameras:
        if not (card.senses_one_picture or _CAMERA_NAME.fullmatch(name)):
            raise ConfigError(
                f'camera "{name}" of model {card.name}: write letters, digits and _ alone in its '
                'card, a letter first'
            )
    if len(card.cameras) == 1:
        return dict.fromkeys(card.cameras, 'image_raw')
    return {name: f'{name}/image_raw' for name in card.cameras}


def build_controller(
    values: Mapping[str, Any], *, clock: Callable[[], float] = time.monotonic
) -> Controller:
    """Load the model, make the planner and run both a few times, so that no tick is the first.

    :param clock: of the controller
    :raises GraspError: when the model cannot be loaded, the parameters do not fit it, or both do
        not fit into the device's memory
    """
    gc.unfreeze()  # of a controller before, whose model may be gone
    gc.collect()
    torch.set_num_threads(values['model.threads'] or _TORCH_THREADS)
    model = checkpoint.load(
        values['model.path'], device=values['model.device'],
        precision=values['model.precision'], cuda_graphs=values['model.cuda_graphs'],
    )  # fmt: skip
    card = model.card
    check(values, card)
    settings = Settings.from_values(values, card, model.device)
    planner = registry.build(settings.planner_name, model, settings.planner)
    controller = Controller(
        model=model,
        planner=planner,
        limits=settings.limits,
        config=settings.controller,
        clock=clock,
    )
    try:
        _warm_up(controller)
    except torch.cuda.OutOfMemoryError as error:
        raise ModelError(
            f'model {card.name} and planner {settings.planner_name} do not fit into the memory of '
            f'{model.device}: fewer planner.restarts or planner.samples, a shorter '
            f'planner.horizon, or model.precision: bfloat16 ({str(error).splitlines()[0]})'
        ) from error
    # What is alive now stays: the collector need not look through torch in the middle of a tick.
    gc.collect()
    gc.freeze()
    return controller


def black_frame(card: ModelCard, stamp_sec: float) -> Frame:
    """A frame that fits a card: all pictures are black, all signals zero."""
    images = {
        name: np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
        for name, camera in card.cameras.items()
    }
    signals = np.zeros(len(card.proprioception)) if card.proprioception else None
    return Frame(images, stamp_sec, signals)


def _warm_up(controller: Controller) -> None:
    """Encode, solve, prepare and correct in either schedule: it may change later."""
    config, card = controller.config, controller.model.card
    # Twice from a cold start: on a GPU what is done again is captured.
    for schedule in ('ahead', 'after_frame') * 2:
        controller.config = replace(
            config, schedule=schedule, feedback_updates=1, unforeseen_frames=0, frozen_frames=0,
            drop_innovation=0.0,
        )  # fmt: skip
        now_sec = time.monotonic()
        controller.reset()
        controller.set_goal(controller.encode_goal(black_frame(card, now_sec)))
        for n in range(_WARM_UP_TICKS * card.action_block):
            stamp_sec = now_sec + n * card.control_period_sec
            tick = controller.step(black_frame(card, stamp_sec), now_sec=stamp_sec)
            controller.prepare(budget_sec=config.deadline_sec)
        if tick.status not in (TickStatus.SOLVED, TickStatus.IN_BLOCK):
            raise ModelError(f'a first solve with model {card.name} failed: {tick.detail}')
    controller.config = config
    controller.set_goal(None)
    controller.reset()


def _controller_config(values: Mapping[str, Any], card: ModelCard) -> ControllerConfig:
    period_sec = card.control_period_sec
    deadline_sec = values['control.deadline_sec']
    if deadline_sec > period_sec:
        raise ConfigError(
            f'control.deadline_sec: {deadline_sec} s is longer than the control period of '
            f'{period_sec:.6g} s: write at most that, or 0.0 for {DEADLINE_RATIO:.0%} of it'
        )
    return ControllerConfig(
        deadline_sec=deadline_sec or DEADLINE_RATIO * period_sec,
        image_timeout_sec=values['control.image_timeout_sec'],
        warm_start=values['control.warm_start'],
        schedule=values['control.schedule'],
        feedback_updates=values['control.feedback_updates'],
        latency_compensation=values['control.latency_compensation'],
        actuator_delay_sec=values['control.actuator_delay_sec'],
        innovation_limit=values['control.innovation_limit'],
        drop_innovation=values['control.drop_innovation'],
        drop_failures=values['control.drop_failures'],
        unforeseen_frames=values['control.unforeseen_frames'],
        frozen_frames=values['control.frozen_frames'],
    )


def _limits(
    values: Mapping[str, Any], card: ModelCard, device: torch.device | str
) -> ActionLimits:
    largest = values['control.max_action'] or [math.inf] * card.action_size
    rates = values['control.max_action_rate']
    _check_length('control.max_action', largest, card)
    low = [max(spec.low, -bound) for spec, bound in zip(card.actions, largest, strict=True)]
    high = [min(spec.high, bound) for spec, bound in zip(card.actions, largest, strict=True)]
    for spec, smallest, greatest in zip(card.actions, low, high, strict=True):
        if not (smallest <= 0.0 <= greatest and smallest < greatest):
            raise ConfigError(
                f'action {spec.name} from {smallest} to {greatest} {spec.unit} leaves no room '
                'around zero, the command that stops the robot'
            )
    max_change = None
    if rates:
        _check_length('control.max_action_rate', rates, card)
        max_change = torch.tensor(rates, device=device) * card.control_period_sec
    return ActionLimits(
        torch.tensor(low, device=device), torch.tensor(high, device=device), max_change
    )


def _check_length(name: str, entries: Sequence[Any], card: ModelCard) -> None:
    if len(entries) != card.action_size:
        raise ConfigError(
            f'{name}: {len(entries)} entries given, model {card.name} has the actions '
            f'{", ".join(action.name for action in card.actions)}'
        )
