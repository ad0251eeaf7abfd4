# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The main job, watched: ``grasp-ros demo`` drives to goals in the embedded world over ROS 2.

World, controller and gate run as processes of their own, as on a robot; this process is a client
like any other. It asks the world for a picture of the goal, sends it to the controller's action,
follows the statistics, and scores with the ground truth that no other process listens to.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table
from std_srvs.srv import SetBool

from grasp_ros.errors import ConfigError, GraspError
from grasp_ros.node import demo_picture
from grasp_ros.node.demo_client import Client, DemoError
from grasp_ros.node.processes import NodeProcess, environment, own_domain, stopped_at_exit
from grasp_ros.node.spin import initialised
from grasp_ros.sim.scoring import HELD_TICKS, is_held, is_near
from grasp_ros.sim.world import DiscWorld
from grasp_ros.sim.worlds import LAYOUTS, make

START_LIMIT_SEC = 60.0
GOAL_LIMIT_SEC = 90.0
PICTURE_EVERY = 2  # ticks between two pictures of the animation


@dataclass
class Score:
    """What happened to one goal; distances in metres of ground truth."""

    goal: tuple[float, float]
    success: bool = False
    reason: str = ''
    near: bool = False
    held: bool = False
    final_distance: float = math.nan
    elapsed_sec: float = math.nan


@dataclass
class Ticks:
    """Statistics of the ticks that drove to a goal; milliseconds."""

    count: int = 0
    misses: int = 0
    driving_sec: float = 0.0
    tick_ms: list[float] = field(default_factory=list)
    image_to_action_ms: list[float] = field(default_factory=list)
    overhead_ms: list[float] = field(default_factory=list)


class Demo:
    """One run.

    :param client: connected to running nodes
    :param world: for places and pictures; its robot is not used
    :param goals: how many
    :param seed: of the goals
    :param console: for the live table
    """

    def __init__(
        self, *, client: Client, world: DiscWorld, goals: int, seed: int, console: Console
    ) -> None:
        self._client = client
        self._world = world
        self._goals = goals
        self._random = np.random.default_rng(seed)
        self._console = console
        self.scores: list[Score] = []
        self.ticks = Ticks()
        self.moments: list[demo_picture.Moment] = []
        self._trail: deque[tuple[float, float]] = deque(maxlen=400)

    def run(self) -> None:
        """Drive to one goal after the other, always in another room.

        :raises DemoError: when a node does not answer
        """
        with Live(self._table(), console=self._console, refresh_per_second=5) as live:
            for _ in range(self._goals):
                goal = self._world.sample_goal(self._random, start=self._client.place)
                self.scores.append(Score(goal=goal))
                self._drive(self.scores[-1], live)
                live.update(self._table())

    def _drive(self, score: Score, live: Live) -> None:
        from grasp_ros.action import DriveToGoalImage
        from grasp_ros.srv import RenderGoal

        client = self._client
        x, y = score.goal
        picture = client.call(client.render, RenderGoal.Request(x=x, y=y), 'the goal image')
        if not picture.success:
            raise DemoError(f'no goal image: {picture.message}')
        self._trail.clear()
        client.path = []
        started_sec = time.monotonic()
        client.on_tick = lambda: self._on_tick(score, started_sec, live)
        sent = client.drive.send_goal_async(DriveToGoalImage.Goal(goal_image=picture.image))
        client.wait(sent.done, 10.0, 'the controller to take the goal')
        if not sent.result().accepted:
            raise DemoError('the controller refused the goal')
        result = sent.result().get_result_async()
        client.wait(result.done, GOAL_LIMIT_SEC, 'the result of a goal')
        score.elapsed_sec = time.monotonic() - started_sec
        self.ticks.driving_sec += score.elapsed_sec
        answer = result.result().result
        score.success = answer.code == DriveToGoalImage.Result.SUCCESS
        score.reason = answer.reason
        score.near = is_near(self._world.scene, client.place, score.goal)
        score.held = self._is_held(score)
        remaining = HELD_TICKS

        def watch() -> None:
            nonlocal remaining
            remaining -= 1
            score.held = score.held and self._is_held(score)

        client.on_tick = watch
        client.wait(lambda: remaining <= 0, 10.0, 'the controller to go on ticking')
        client.on_tick = lambda: None
        score.final_distance = client.distance(score.goal)

    def _is_held(self, score: Score) -> bool:
        client = self._client
        return is_held(
            self._world.scene, state=client.place, velocity=client.velocity, goal=score.goal
        )

    def _on_tick(self, score: Score, started_sec: float, live: Live) -> None:
        client, ticks, now = self._client, self.ticks, self._client.statistics
        score.final_distance = client.distance(score.goal)
        self._trail.append(client.place)
        ticks.count += 1
        ticks.misses += not now.deadline_met
        if now.iterations:
            ticks.tick_ms.append(1e3 * now.tick_sec)
            ticks.image_to_action_ms.append(1e3 * now.image_to_action_sec)
            own_sec = now.image_to_action_sec - now.encode_sec - now.solve_sec
            ticks.overhead_ms.append(1e3 * own_sec)
        if ticks.count % PICTURE_EVERY == 0:
            elapsed_sec = time.monotonic() - started_sec
            text = (
                f'goal {len(self.scores)}/{self._goals}   {elapsed_sec:4.1f} s   '
                f'distance {score.final_distance:.2f} m'
            )
            self.moments.append(
                demo_picture.Moment(
                    place=client.place,
                    goal=score.goal,
                    trail=tuple(self._trail),
                    plan=tuple(client.path),
                    text=text,
                )
            )
            live.update(self._table())

    def _table(self) -> Table:
        table = Table(title='camera → JEPA → GRASP → gate → robot, over DDS', min_width=70)
        for title in ('goal', 'place [m]', 'distance [m]', 'time [s]', 'outcome'):
            table.add_column(title)
        for number, score in enumerate(self.scores, start=1):
            outcome = 'driving'
            if score.reason:
                outcome = 'held' if score.held else 'reached' if score.near else 'missed'
                if not score.success:
                    outcome = f'missed: {score.reason}'
            elapsed = '' if math.isnan(score.elapsed_sec) else f'{score.elapsed_sec:.1f}'
            table.add_row(
                str(number),
                f'{score.goal[0]:.2f}, {score.goal[1]:.2f}',
                f'{score.final_distance:.3f}',
                elapsed,
                outcome,
            )
        ticks = self.ticks
        if ticks.tick_ms:
            table.caption = (
                f'{ticks.count} ticks · tick {np.median(ticks.tick_ms):.1f} ms · '
                f'image to action {np.median(ticks.image_to_action_ms):.1f} ms · '
                f'missed {ticks.misses}'
            )
        return table

    def report(self) -> dict:
        """The run in plain JSON types."""
        ticks = self.ticks
        tick, latency, own = (
            np.array(values or [math.nan])
            for values in (ticks.tick_ms, ticks.image_to_action_ms, ticks.overhead_ms)
        )
        return {
            'goals': self._goals,
            'reached': sum(score.success and score.near for score in self.scores),
            'held': sum(score.success and score.held for score in self.scores),
            'ticks': ticks.count,
            'deadline_misses': ticks.misses,
            'control_rate_hz': ticks.count / ticks.driving_sec if ticks.driving_sec else 0.0,
            'tick_ms': {
                'p50': float(np.percentile(tick, 50)),
                'p99': float(np.percentile(tick, 99)),
                'max': float(tick.max()),
            },
            'image_to_action_ms': {
                'p50': float(np.percentile(latency, 50)),
                'p99': float(np.percentile(latency, 99)),
            },
            'node_overhead_ms': {'p50': float(np.percentile(own, 50))},
            'false_success': sum(score.success and not score.near for score in self.scores),
        }


@click.command()
@click.option('--goals', type=click.IntRange(min=1), default=10, show_default=True,
              help='Goals, one after the other, always in another room.')
@click.option('--seed', type=click.IntRange(min=0), default=0, show_default=True,
              help='Of the goals.')
@click.option('--model', default='two_rooms', show_default=True,
              help='A shipped model, the folder of a checkpoint, or a function; the world is its '
                   'own.')
@click.option('--schedule', type=click.Choice(['after_frame', 'ahead']), default='ahead',
              show_default=True, help='When the controller solves, `control.schedule`.')
@click.option('--json', 'json_file', type=click.Path(dir_okay=False, path_type=Path),
              help='Write the summary to this file.')
@click.option('--out', type=click.Path(file_okay=False, path_type=Path), default=Path('out/demo'),
              show_default=True, help='Folder for the animated picture and the logs.')
def command(
    goals: int, seed: int, model: str, schedule: str, json_file: Path | None, out: Path
) -> None:
    """Start world, controller and gate over ROS 2 and drive to goals in another room.

    Exits with 1 when a goal is missed.
    """
    console = Console()
    try:
        world = _world_of(model, seed)
    except GraspError as error:
        raise click.ClickException(str(error)) from error
    logs = out / 'logs'
    logs.mkdir(parents=True, exist_ok=True)
    domain_id = own_domain()  # the gate that it arms, and what follows cmd_vel, must be its own
    env = environment(domain_id=domain_id)
    os.environ.update(env)  # this process is a client in the same graph
    nodes: list[NodeProcess] = []
    try:
        with stopped_at_exit(nodes):
            console.print(f'Starting world, controller and gate (logs in {logs}, to watch with '
                          f'ROS_DOMAIN_ID={domain_id}) …')
            for name, parameters in (
                ('sim_node', {'sim.world': world.scene.name, 'sim.seed': seed,
                              'sim.layout': world.scene.layout or 0}),
                ('gate_node', {}),
                ('mpc_node', {'model.path': str(model), 'control.schedule': schedule}),
            ):
                log = logs / f'{name}.log'
                log.unlink(missing_ok=True)
                nodes.append(NodeProcess(name, log=log, env=env, parameters=parameters))
            with initialised():
                demo = _run(world, nodes, goals, seed, console)
    except GraspError as error:
        raise click.ClickException(f'{error}; the logs are in {logs}') from error
    report = demo.report()
    picture = out / 'demo.gif'
    demo_picture.save(world, demo.moments, picture, frame_sec=0.1)
    console.print(f'\n{report["reached"]} of {goals} goals reached, {report["held"]} held, '
                  f'{report["false_success"]} false successes')
    console.print(f'{report["control_rate_hz"]:.2f} Hz, tick p50 {report["tick_ms"]["p50"]:.1f} '
                  f'ms, p99 {report["tick_ms"]["p99"]:.1f} ms, '
                  f'{report["deadline_misses"]} deadline misses in {report["ticks"]} ticks')
    console.print(f'Animated picture: {picture}')
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    if report['reached'] < goals:
        raise SystemExit(1)


def _world_of(model: str, seed: int) -> DiscWorld:
    """The world that a model was trained in, in a layout that it has not seen.

    :raises ConfigError: when its goals are no places of the robot
    """
    from grasp_ros.world_models.checkpoint import load_card  # slow: torch

    name = load_card(model).training.get('world', 'two_rooms')
    unseen = LAYOUTS[name].held_out if name in LAYOUTS else (None,)
    world = make(name, layout=unseen[seed % len(unseen)])
    if world.scene.block is not None:
        raise ConfigError(f'{name}: the goals of the demo are places of the robot, and there the '
                          'block counts; use `grasp-ros evaluate`')
    return world


def _run(
    world: DiscWorld, nodes: list[NodeProcess], goals: int, seed: int, console: Console
) -> Demo:
    client = Client(nodes)
    try:
        client.wait(lambda: client.place is not None, START_LIMIT_SEC, 'the embedded world')
        ready = client.drive.server_is_ready
        client.wait(lambda: ready() and client.statistics is not None, START_LIMIT_SEC,
                    'the controller')
        client.wait(client.enable.service_is_ready, START_LIMIT_SEC, 'the gate')
        client.call(client.enable, SetBool.Request(data=True), 'the gate to be armed')
        demo = Demo(client=client, world=world, goals=goals, seed=seed, console=console)
        demo.run()
        return demo
    finally:
        client.destroy_node()
