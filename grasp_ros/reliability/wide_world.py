# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The embedded world with a camera of any size: ``sim_node`` with `height` and `width`."""

from __future__ import annotations

from grasp_ros.node import spin  # first: where ROS is missing, its error names the cure

# isort: split

import sys

from sensor_msgs.msg import Image

from grasp_ros.node import images
from grasp_ros.node.sim_node import SimNode
from grasp_ros.reliability.wide import Window
from grasp_ros.world_models.base import CameraSpec


class WideWorld(SimNode):
    """Publishes the world as :class:`~grasp_ros.reliability.wide.Window` enlarges it."""

    def __init__(self) -> None:
        super().__init__()
        for name in ('height', 'width'):
            self.declare_parameter(name, self.get_parameter('sim.image_size').value)

    def send_image(self, image: Image) -> None:
        """Publish the large picture."""
        large = CameraSpec(*(self.get_parameter(name).value for name in ('height', 'width')))
        window = Window(large, CameraSpec(image.height, image.width))
        images.fill(image, window.enlarge(images.to_rgb(image)))
        super().send_image(image)


def main(args: list[str] | None = None) -> int:
    """Run the node until a signal."""
    return spin.run(WideWorld, args)


if __name__ == '__main__':
    sys.exit(main())
