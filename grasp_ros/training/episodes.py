# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Closed-loop episodes in the embedded worlds, without ROS.

Camera frame in, command out, every control period; the same controller as in the node, the same
episodes for every planner, horizon and warm start. Ground truth is used for scoring alone.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from grasp_ros.control.controller import Controller
from grasp_ros.control.goal import GoalConfig, GoalMonitor, GoalState
from grasp_ros.control.history import Frame
from grasp_ros.control.tick import COLD, TickStatus
from grasp_ros.control.timeline import Timing
from grasp_ros.sim.scoring import HELD_TICKS, distance, is_held, is_near
from grasp_ros.sim.world import DiscWorld
from grasp_ros.training.camera import Camera, CameraFault
from grasp_ros.training.tasks import EpisodeTask, shortest_ticks


@dataclass(frozen=True)
class Disturbance:
    """What the world does that the model does not know; nothing by default.

    :param kick_rate: probability of a kick in each tick
    :param kick_distance: length of a kick, metres, in a random direction
    :param kick_speed: change of velocity with a kick, m/s, in the same direction
    :param gain: factor on every command
    :param rotation_deg: angle by which every command is turned
    :param drift: added to every command, in its units
    :param delay_sec: by which every command takes effect later
    """

    kick_rate: float = 0.0
    kick_distance: float = 0.0
    kick_speed: float = 0.0
    gain: float = 1.0
    rotation_deg: float = 0.0
    drift: tuple[float, float] = (0.0, 0.0)
    delay_sec: float = 0.0

    def command(self, action: np.ndarray) -> np.ndarray:
        """What the robot does instead of a command, ``[2]``."""
        angle = math.radians(self.rotation_deg)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return self.gain * turn @ np.asarray(action) + np.asarray(self.drift)

    def kick(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
        """Displacement and change of velocity of one tick, ``[2]`` each, or None.

        Draws as many numbers in every tick, so that a tick's kick does not depend on what the
        controller did: episodes stay pairs.
        """
        chance, angle = random.random(), random.uniform(0, 2 * math.pi)
        if chance >= self.kick_rate:
            return None
        direction = np.array([math.cos(angle), math.sin(angle)])
        return self.kick_distance * direction, self.kick_speed * direction


@dataclass(frozen=True)
class Conditions:
    """How an episode is driven.

    :param charge: a command takes effect only after the thread CPU time from image to command, the
        one before it being held meanwhile; frames that come while the controller is still at work
        are lost. Without it commands take effect at once.
    :param prepare_sec: time for preparation in each period, where the controller prepares; it is
        cut to what is left of the period, and not charged. None = no limit
    :param disturbance: of the world
    :param camera_fault: what goes wrong with the camera
    :param picture_shift: how the camera, and so the goal's picture, looks otherwise than in
        training: one of :data:`grasp_ros.training.camera.SHIFTS`, or empty
    :param end_early: stop as soon as the goal has been held for twice as long as is asked for
    """

    charge: bool = False
    prepare_sec: float | None = None
    disturbance: Disturbance = field(default_factory=Disturbance)
    camera_fault: CameraFault | None = None
    picture_shift: str = ''
    end_early: bool = False


IDEAL = Conditions()
WARM_UP_TICKS = 4  # of an episode that is driven for the code alone


@dataclass(frozen=True)
class TickTime:
    """Where the time of one tick with a new plan went, seconds.

    :param wall_sec: image to command
    :param cpu_sec: image to command, thread CPU time
    :param encode_sec: part of the encoder, on the controller's clock
    :param prepare_cpu_sec: preparation of the next tick, thread CPU time
    """

    wall_sec: float
    cpu_sec: float
    encode_sec: float
    prepare_cpu_sec: float


@dataclass(frozen=True)
class Episode:
    """What happened in one episode.

    :param reached: the robot, or the block, came near the goal, :mod:`grasp_ros.sim.scoring`
    :param held: it was near, and stopped if it has inertia, in each of the last ticks
    :param held_out: start and goal, or the layout, lie where no training frame was taken
    :param path_ratio: the robot's way until it was reached over the shortest way, or with a block
        over the one known; NaN if it never was
    :param ticks: length of the episode
    :param final_distance: to the goal at the end, metres, of the robot or the block
    :param claimed: the goal monitor called the goal reached
    :param false_success: it did so while the robot was not near
    :param warm_ticks: solves that had a warm start
    :param mean_distance: to the goal, over all ticks, metres
    :param lost_frames: frames that came while the controller was still at work
    :param stopped: name of the status with which the controller stopped the robot because of what
        it saw, :mod:`grasp_ros.control.sight`; empty if it did not. The episode is then over
    :param failure: why the robot was first stopped for want of a plan or a picture, in words;
        empty if it never was
    :param layout: of a world that has several
    :param escape_horizon: of a graded episode, steps
    """

    reached: bool
    held: bool
    held_out: bool
    path_ratio: float
    ticks: int
    final_distance: float
    claimed: bool
    false_success: bool
    warm_ticks: int
    mean_distance: float = math.nan
    lost_frames: int = 0
    stopped: str = ''
    failure: str = ''
    layout: int | None = None
    escape_horizon: int | None = None


def tick_limit(world: DiscWorld, episode: EpisodeTask, period_sec: float) -> int:
    """Length of an episode: twice the shortest path's ticks, and 20 more."""
    return 2 * shortest_ticks(world, episode.task.path_length, period_sec) + 20


class _Drive:
    """Commands on their way to the robot, each with the time at which it takes effect."""

    def __init__(self, world: DiscWorld, disturbance: Disturbance) -> None:
        self._world = world
        self._disturbance = disturbance
        self._waiting: deque[tuple[float, np.ndarray]] = deque()
        self._now_sec = 0.0

    def send(self, action: np.ndarray, *, at_sec: float) -> None:
        self._waiting.append((at_sec + self._disturbance.delay_sec, action))

    def advance_to(self, then_sec: float) -> None:
        while self._waiting and self._waiting[0][0] < then_sec:
            at_sec, action = self._waiting.popleft()
            self._pass(max(at_sec, self._now_sec))
            self._world.drive(self._disturbance.command(action))
        self._pass(then_sec)

    def _pass(self, then_sec: float) -> None:
        self._world.advance(max(0.0, then_sec - self._now_sec))
        self._now_sec = then_sec


def run_episode(
    world: DiscWorld,
    controller: Controller,
    episode: EpisodeTask,
    *,
    conditions: Conditions = IDEAL,
    watch: Callable[[TickTime], None] = lambda tick: None,
    most_ticks: int | None = None,
) -> Episode:
    """Drive one task to its limit, :func:`tick_limit`.

    :param watch: called for every tick with a new plan
    :param most_ticks: stop after as many, to warm the code up
    """
    card, task = controller.model.card, episode.task
    period_sec = card.control_period_sec
    limit = tick_limit(world, episode, period_sec)
    if most_ticks is not None:
        limit = min(limit, most_ticks)
    controller.reset()
    camera = next(iter(card.cameras))
    eye = Camera(world, conditions.camera_fault, episode.seed, conditions.picture_shift)
    goal = Frame(images={camera: eye.picture_at(task.goal)}, stamp_sec=0.0)
    controller.set_goal(controller.encode_goal(goal))
    monitor = None
    if card.goal_tolerance:  # else nobody can say from the latent whether the robot is there
        monitor = GoalMonitor(GoalConfig(tolerance=card.goal_tolerance), now_sec=0.0)
    world.reset(options={'start': task.start})
    drive = _Drive(world, conditions.disturbance)
    kicks = np.random.default_rng((*episode.seed, 3))  # not the numbers that start and goal are of
    travelled, ratio, warm_ticks, claimed, false_success = 0.0, math.nan, 0, False, False
    failure = ''
    at_rest, distances, lost, busy_until_sec, stopped = [], [], 0, 0.0, ''
    timing = None
    if not conditions.charge:  # then the world stands still while the controller is at work
        timing = Timing(latency_sec=controller.config.actuator_delay_sec)
    for index in range(limit):
        stamp_sec = index * period_sec
        kick = conditions.disturbance.kick(kicks)
        if kick is not None:
            world.kick(*kick)
        before = world.position
        if conditions.charge and busy_until_sec > stamp_sec:
            lost += 1
        else:
            frame = Frame(images={camera: eye.picture(index)}, stamp_sec=stamp_sec)
            wall_sec, cpu_sec = time.perf_counter(), time.thread_time()
            tick = controller.step(frame, now_sec=stamp_sec, timing=timing)
            wall_sec, cpu_sec = time.perf_counter() - wall_sec, time.thread_time() - cpu_sec
            if conditions.charge:
                busy_until_sec = stamp_sec + cpu_sec
            drive.send(tick.action, at_sec=max(stamp_sec, busy_until_sec))
            prepare_sec = _prepare(controller, conditions, period_sec - cpu_sec)
            if tick.status.ends_goal:
                stopped = tick.status.name
            elif not tick.status.drives and not failure:
                failure = f'{tick.status.value}: {tick.detail}'
            if tick.status is TickStatus.SOLVED:
                watch(TickTime(wall_sec, cpu_sec, tick.encode_sec, prepare_sec))
                warm_ticks += tick.shift_steps != COLD
            if (
                monitor is not None
                and not claimed
                and monitor.update(stamp_sec, tick.goal_distance) is GoalState.REACHED
            ):
                claimed = True
                false_success = not is_near(world.scene, world.state, task.goal)
        drive.advance_to(stamp_sec + period_sec)
        travelled += float(np.linalg.norm(world.position - before))
        distances.append(float(distance(world.state, task.goal)))
        at_rest.append(is_held(world.scene, state=world.state, velocity=world.velocity,
                               goal=task.goal))
        if math.isnan(ratio) and is_near(world.scene, world.state, task.goal):
            ratio = travelled / task.path_length
        if stopped:
            break
        if conditions.end_early and sum(at_rest[-2 * HELD_TICKS :]) == 2 * HELD_TICKS:
            break
    return Episode(
        reached=not math.isnan(ratio),
        held=all(at_rest[-HELD_TICKS:]),
        held_out=episode.held_out,
        path_ratio=ratio,
        ticks=len(at_rest),
        final_distance=distances[-1],
        claimed=claimed,
        false_success=false_success,
        warm_ticks=warm_ticks,
        mean_distance=float(np.mean(distances)),
        lost_frames=lost,
        stopped=stopped,
        failure=failure,
        layout=episode.layout,
        escape_horizon=episode.escape_horizon,
    )


def _prepare(controller: Controller, conditions: Conditions, left_sec: float) -> float:
    """Let the controller prepare the next tick; thread CPU time that it took."""
    if conditions.prepare_sec is None:
        budget_sec = None
    else:
        budget_sec = max(0.0, min(conditions.prepare_sec, left_sec))
    started_sec = time.thread_time()
    controller.prepare(budget_sec=budget_sec)
    return time.thread_time() - started_sec
