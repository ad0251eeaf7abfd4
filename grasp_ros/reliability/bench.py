# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The robots that fault scenarios are run on, one at a time: idle ones would cost the others time.

A robot stays up from one scenario to the next that needs the same one, and is brought to its
normal state before each.
"""

from __future__ import annotations

from pathlib import Path

from rclpy.node import Node

from grasp_ros.reliability.robot import Part, Robot

WORLD = 'grasp_ros.reliability.faulty_world'
CONTROLLER = 'grasp_ros.reliability.faulty_controller'
_SIMULATED = {'use_sim_time': True}


def _gate(name: str, **parameters) -> Part:
    # With its depth of one, what the watcher is too slow for would be lost to it.
    depth = {f'qos_overrides./{name}/cmd_vel.publisher.depth': 100}
    return Part('gate_node', parameters=depth | parameters)


# Name of a robot, which is its namespace too -> its nodes.
ROBOTS: dict[str, tuple[Part, ...]] = {
    'robot': (Part('sim_node', WORLD), _gate('robot'), Part('mpc_node')),
    'compressed': (
        Part('sim_node', WORLD),
        _gate('compressed'),
        Part('mpc_node', parameters={'image_transport': 'compressed'}),
    ),
    # A controller whose solver and model can be made to fail; the others run the product's own.
    # It solves after the frame, so that there is something to be in the middle of.
    'solver': (
        Part('sim_node', WORLD),
        _gate('solver'),
        Part('mpc_node', CONTROLLER, {'control.schedule': 'after_frame'}),
    ),
    # For what needs processes of its own.
    'none': (),
    # The scenario is the controller.
    'gate': (_gate('gate'),),
    # A controller that nothing has been configured in, without a camera.
    'model': (Part('mpc_node', parameters={'autostart': False}),),
    'simulated': (
        Part('sim_node', WORLD, _SIMULATED),
        _gate('simulated', **_SIMULATED),
        Part('mpc_node', parameters=_SIMULATED),
    ),
}


class Bench:
    """Holds one robot.

    :param client: from :func:`~grasp_ros.reliability.rig.open_client`
    :param folder: for logs and model files
    """

    def __init__(self, client: Node, folder: Path) -> None:
        self.client = client
        self.folder = Path(folder)
        self._robot: Robot | None = None
        self._name = ''

    def robot(self, name: str) -> Robot:
        """A robot in its normal state.

        :param name: out of :data:`ROBOTS`
        """
        if name != self._name:
            self.discard()
            self._robot = Robot(self.client, f'/{name}', self.folder, parts=ROBOTS[name])
            self._name = name
        self._robot.make_normal()
        return self._robot

    def discard(self) -> None:
        """Stop the robot, if there is one; the next one starts anew."""
        robot, self._robot, self._name = self._robot, None, ''
        if robot is not None:
            robot.close()
