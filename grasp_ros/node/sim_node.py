# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An embedded world as a robot with a camera, in real time."""

from __future__ import annotations

from grasp_ros.node import spin  # first: where ROS is missing, its error names the cure

# isort: split

import math
import sys
import time

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from grasp_ros.node import compressed_images, images, messages, qos, tables
from grasp_ros.node.parameter_server import ParameterServer
from grasp_ros.sim.world import DiscWorld, WorldInputError
from grasp_ros.sim.worlds import LAYOUTS, make
from grasp_ros.srv import RenderGoal, ResetRobot

CAMERA_FRAME = 'camera'
WORLD_FRAME = 'world'
_LONGEST_STEP_SEC = 0.2  # a stalled process does not make up for the time it was stalled


class SimNode(Node):
    """Publishes ``image_raw``, ``image_raw/compressed``, ``camera_info``, ``ground_truth/pose``,
    ``ground_truth/velocity``; subscribes ``cmd_vel``."""

    def __init__(self) -> None:
        super().__init__('sim_node')
        self._settings = ParameterServer(self, tables.SIM)
        values = self._settings.values
        name = values['sim.world']
        layout = values['sim.layout'] if name in LAYOUTS else None
        self._world = make(name, layout=layout, image_size=values['sim.image_size'])
        self._world.reset(seed=values['sim.seed'])
        self._advanced_sec = self._commanded_sec = self.world_sec()
        self._camera_info = _camera_info(self._world)
        self._image_publisher = self.create_publisher(
            Image, 'image_raw', qos_profile_sensor_data, **qos.publisher(self, 'image_raw')
        )
        topic = compressed_images.topic(self)
        self._compressed_publisher = self.create_publisher(
            CompressedImage, topic, qos_profile_sensor_data, **qos.publisher(self, topic)
        )
        self._info_publisher = self.create_publisher(
            CameraInfo, 'camera_info', qos_profile_sensor_data,
            **qos.publisher(self, 'camera_info'),
        )  # fmt: skip
        self._pose_publisher = self.create_publisher(PoseStamped, 'ground_truth/pose', 10)
        self._velocity_publisher = self.create_publisher(
            TwistStamped, 'ground_truth/velocity', 10
        )
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        self.create_subscription(
            TwistStamped, 'cmd_vel', self._on_command, newest,
            **qos.subscription(self, 'cmd_vel'),
        )  # fmt: skip
        self.create_service(ResetRobot, 'reset_robot', self._on_reset)
        self.create_service(RenderGoal, 'render_goal', self._on_render_goal)
        self.create_timer(1.0 / values['sim.rate'], self._on_frame, clock=spin.STEADY_CLOCK)

    def world_sec(self) -> float:
        """The clock by which the world goes on; it never goes back."""
        return time.monotonic()

    def send_image(self, image: Image) -> None:
        """Publish a picture, stamped with the present time."""
        self._image_publisher.publish(image)

    def send_compressed(self, image: CompressedImage) -> None:
        """Publish the same as a JPEG or PNG."""
        self._compressed_publisher.publish(image)

    def _on_frame(self) -> None:
        self._advance()
        stamp = self.get_clock().now().to_msg()
        x, y = self._world.position
        image = Image()
        image.header.stamp = stamp
        image.header.frame_id = CAMERA_FRAME
        picture = self._world.render()
        images.fill(image, picture)
        if self._compressed_publisher.get_subscription_count():
            compressed = CompressedImage(header=image.header)
            compressed_images.fill(
                compressed, picture, format=self._settings['sim.compressed_format']
            )
            self.send_compressed(compressed)
        self.send_image(image)
        self._camera_info.header.stamp = stamp
        self._info_publisher.publish(self._camera_info)
        velocity = (*self._world.velocity, 0.0, 0.0, 0.0, 0.0)
        self._velocity_publisher.publish(messages.twist(velocity, stamp, WORLD_FRAME))
        self._pose_publisher.publish(messages.pose(x, y, stamp, WORLD_FRAME))

    def _advance(self) -> None:
        """Bring the world to the present; the robot brakes once commands are stale."""
        now_sec = self.world_sec()
        if now_sec - self._commanded_sec > self._settings['sim.command_timeout_sec']:
            self._world.drive(self._brake())
        self._world.advance(min(now_sec - self._advanced_sec, _LONGEST_STEP_SEC))
        self._advanced_sec = now_sec

    def _brake(self) -> np.ndarray:
        """The command that stops the robot; with inertia one that would by the next frame."""
        rate = self._settings['sim.rate'] if self._world.scene.robot.has_inertia else 0.0
        return -rate * self._world.velocity

    def _on_command(self, message: TwistStamped) -> None:
        command = (message.twist.linear.x, message.twist.linear.y)
        if not all(math.isfinite(value) for value in command):
            return
        self._advance()
        self._world.drive(command)
        self._commanded_sec = self.world_sec()

    def _on_reset(self, request, response):
        try:
            self._world.reset(options={'start': (request.x, request.y)})
        except WorldInputError as error:
            response.success, response.message = False, str(error)
            return response
        self._advanced_sec = self.world_sec()
        response.success = True
        return response

    def _on_render_goal(self, request, response):
        try:
            picture = self._world.render_at(request.x, request.y)
        except WorldInputError as error:
            response.success, response.message = False, str(error)
            return response
        response.success = True
        response.image.header.stamp = self.get_clock().now().to_msg()
        response.image.header.frame_id = CAMERA_FRAME
        images.fill(response.image, picture)
        return response


def _camera_info(world: DiscWorld) -> CameraInfo:
    """An ideal pinhole: no distortion, the optical axis in the middle of the picture."""
    size = world.image_size
    focal = size / 2 / math.tan(math.radians(world.scene.camera.fov_deg) / 2)
    middle = size / 2
    info = CameraInfo(width=size, height=size, distortion_model='plumb_bob')
    info.header.frame_id = CAMERA_FRAME
    info.d = [0.0] * 5
    info.k = [focal, 0.0, middle, 0.0, focal, middle, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, middle, 0.0, 0.0, focal, middle, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def main(args: list[str] | None = None) -> int:
    """Entry point of ``sim_node``."""
    return spin.run(SimNode, args)


if __name__ == '__main__':
    sys.exit(main())
