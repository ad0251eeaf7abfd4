# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The limits of what is foreseen, and how `grasp-ros stops` counts the stops that they make."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from grasp_ros.training.camera import KINDS
from grasp_ros.training.metrics import foresight_limits
from grasp_ros.training.stops import measure, summary
from grasp_ros.world_models import checkpoint


def test_limits_are_twice_what_hardly_any_step_exceeds():
    """Seen is 0.01, 0.02, …, 1 further than a model foresees, which is 0.1 a step."""
    errors = 0.01 * torch.arange(1, 101)
    latents = torch.cat((torch.zeros(1), torch.cumsum(0.1 + errors, 0)))
    images = np.zeros((1, 101, 2, 2, 3), np.uint8)
    images[0, 50:] = 1  # between two pictures that differ no motion is expected in vain
    model = SimpleNamespace(
        card=SimpleNamespace(observer_gain=(1.0,)),
        predict=lambda context, actions: context[:, -1] + 0.1,
        cost=lambda a, b: (a - b).square().mean(dim=-1),
    )
    walks = SimpleNamespace(actions=np.zeros((1, 100, 2), np.float32), images=images)
    encoded = SimpleNamespace(latents=latents.view(1, 101, 1), walks=walks)
    innovation, motion = foresight_limits(model, encoded)
    assert innovation == pytest.approx(2 * np.quantile(errors.numpy() ** 2, 0.99), rel=1e-4)
    assert motion == pytest.approx(2 * 0.1**2, rel=1e-4)


def drive(**changes):
    model = checkpoint.load('two_rooms')
    model.card = replace(model.card, **changes)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure(model, settings={'iterations': 2}, episodes=1, faulty=1, seed=1001)
    finally:
        torch.set_num_threads(before)


def test_a_camera_that_goes_wrong_stops_the_robot_and_one_that_is_well_does_not():
    report = drive()
    assert all(row['hours'] > 0 and not row['stops'] for row in report['well'].values())
    for kind in ('covered', 'frozen'):
        fault = report['faults'][kind]
        (late_sec,) = fault['late_sec']
        assert 0 < late_sec < 2 and sum(fault['stops'].values()) == 1


def test_a_stop_before_the_fault_has_seen_nothing():
    report = drive(innovation_limit=1e-12)
    assert report['well']['undisturbed']['stops']
    for kind in KINDS:
        fault = report['faults'][kind]
        assert (fault['episodes'], fault['stopped_before'], fault['late_sec']) == (0, 1, [])
    console = Console(record=True, width=120)
    for table in summary(report):
        console.print(table)
    assert '0 of 0, 1 before it' in console.export_text()
