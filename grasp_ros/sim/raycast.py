# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A camera without OpenGL: MuJoCo casts the rays, numpy shades what they hit.

It needs no display, no driver and no particular thread, and gives the same bytes on every
machine with the same MuJoCo. What does not move is cast once; each frame then casts only the
rectangles around what does, which gives the same pixels as casting them all.
"""

import mujoco
import numpy as np

from grasp_ros.sim.mjcf import MOVING_GROUP, STATIC_GROUP
from grasp_ros.sim.scene import Scene


class RayCamera:
    """
    The overhead camera of a scene at one picture size.

    :param model: the compiled scene.
    :param scene: camera, colours and lighting.
    :param size: width and height of the picture in pixels.
    """

    def __init__(self, *, model: mujoco.MjModel, scene: Scene, size: int) -> None:
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f'a picture needs a size of at least 1 pixel, got {size!r}')
        self.size = int(size)
        self._model = model
        self._samples = scene.camera.supersampling ** 2
        self._origin = np.array(scene.camera.position, dtype=np.float64)
        self._half = np.tan(np.radians(scene.camera.fov_deg) / 2)
        self._rays = _pinhole_rays(self.size, scene.camera.supersampling, self._half)
        self._square = scene.floor.square
        light = np.array(scene.lighting.direction)
        self._light = light / np.linalg.norm(light)
        self._ambient, self._diffuse = scene.lighting.ambient, scene.lighting.diffuse
        self._floor = model.geom('floor').id
        # One colour per geom, then the floor's second colour, then black where nothing is hit.
        odd, nothing = np.array(scene.floor.colours[1]), np.zeros(3)
        self._colours = np.vstack([model.geom_rgba[:, :3], odd, nothing])
        self._moving = np.flatnonzero(model.geom_group == MOVING_GROUP)
        self._reach = [_local_corners(model, geom) for geom in self._moving]
        self._static_only, self._all = _group_mask(STATIC_GROUP), _group_mask(
            STATIC_GROUP, MOVING_GROUP)
        still = mujoco.MjData(model)
        mujoco.mj_kinematics(model, still)
        self._background = self._cast(still, self._rays, self._static_only)

    def render(self, data: mujoco.MjData) -> np.ndarray:
        """
        The picture of a state.

        :param data: a state with up-to-date positions of geoms (`mj_kinematics` suffices).
        :returns: uint8 [size, size, 3], red, green, blue.
        """
        picture = self._background.copy()
        for geom, corners in zip(self._moving, self._reach):
            rows, columns = self._rectangle(data, geom, corners)
            if rows.start < rows.stop and columns.start < columns.stop:
                picture[rows, columns] = self._cast(data, self._rays[rows, columns], self._all)
        return picture

    def render_full(self, data: mujoco.MjData) -> np.ndarray:
        """As `render` with every ray cast: slower, the reference of its test."""
        return self._cast(data, self._rays, self._all)

    def _rectangle(self, data: mujoco.MjData, geom: int, corners: np.ndarray) -> tuple:
        points = data.geom_xpos[geom] + corners @ data.geom_xmat[geom].reshape(3, 3).T
        away = points - self._origin
        across = away[:, :2] / (-away[:, 2:] * self._half)
        pixels = (across * (1, -1) + 1) / 2 * self.size
        low = np.clip(np.floor(pixels.min(0)).astype(int), 0, self.size)
        high = np.clip(np.ceil(pixels.max(0)).astype(int), 0, self.size)
        return slice(low[1], high[1]), slice(low[0], high[0])

    def _cast(self, data: mujoco.MjData, rays: np.ndarray, groups: np.ndarray) -> np.ndarray:
        height, width = rays.shape[:2]
        flat = np.ascontiguousarray(rays).reshape(-1, 3)
        count = len(flat)
        geom = np.empty(count, dtype=np.int32)
        distance = np.empty(count)
        normal = np.empty(3 * count)
        mujoco.mj_multiRay(self._model, data, self._origin, flat.reshape(-1), groups, True, -1,
                           geom, distance, normal, count, mujoco.mjMAXVAL)
        floor = geom == self._floor
        place = self._origin[:2] + distance[:, None] * flat[:, :2]
        odd = np.floor(place / self._square).astype(np.int64).sum(1) % 2 == 1
        material = np.where(floor & odd, len(self._colours) - 2, geom)
        light = self._ambient + self._diffuse * np.maximum(
            normal.reshape(-1, 3) @ self._light, 0.0)
        colour = self._colours[material] * light[:, None]
        colour = colour.reshape(height, width, self._samples, 3).mean(2)
        return np.rint(np.clip(colour, 0.0, 1.0) * 255).astype(np.uint8)


def _pinhole_rays(size: int, supersampling: int, half: float) -> np.ndarray:
    """Unit rays of a camera that looks down: [size, size, supersampling ** 2, 3]."""
    count = size * supersampling
    across = ((np.arange(count) + 0.5) / count * 2 - 1) * half
    x, y = np.meshgrid(across, -across)
    rays = np.stack([x, y, -np.ones_like(x)], -1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    rays = rays.reshape(size, supersampling, size, supersampling, 3).swapaxes(1, 2)
    return rays.reshape(size, size, supersampling ** 2, 3)


def _local_corners(model: mujoco.MjModel, geom: int) -> np.ndarray:
    """Corners of a geom's bounding box in its own frame: [8, 3] in m."""
    centre, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
    signs = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T
    return centre + signs * half


def _group_mask(*groups: int) -> np.ndarray:
    mask = np.zeros(mujoco.mjNGROUP, dtype=np.uint8)
    mask[list(groups)] = 1
    return mask
