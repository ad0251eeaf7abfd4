# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Typed exceptions. Each carries a code, in blocks of 100, that ROS results report unchanged."""

from __future__ import annotations


class GraspError(Exception):
    """Base of everything that grasp_ros raises on purpose; its text names the cure."""

    code: int = 900


class ModelError(GraspError):
    """A world model cannot be loaded or does not keep its contract."""

    code = 400


class CheckpointError(ModelError):
    """A checkpoint is missing, truncated, of the wrong shape, or of an unknown format."""

    code = 401


class CardError(ModelError):
    """A model card is incomplete or contradicts itself."""

    code = 402


class ObservationError(GraspError):
    """An observation does not fit the model: wrong camera, size, type, or non-finite values."""

    code = 200


class MessageError(GraspError):
    """A message holds something else than it must."""

    code = 210


class GoalError(GraspError):
    """A goal is no good, or cannot be saved: its name, its files, or what is missing."""

    code = 105


class UnknownGoalError(GoalError):
    """No goal of that name is saved; the text names those that are."""

    code = 108


class ConfigError(GraspError):
    """A setting is out of range or contradicts another one."""

    code = 500


class SolveError(GraspError):
    """A solve gave nothing usable (for example a non-finite latent, cost or gradient)."""

    code = 301


class NotFiniteError(SolveError):
    """Latents, costs or gradients were not finite, and so may be what the solve began with."""

    code = 302
