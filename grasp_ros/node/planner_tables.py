# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the planners.

``planner.x`` holds for GRASP and for every peer that takes x with the same meaning and the same
default; what differs stands in ``planner.<name>.x`` and comes before it.
"""

from __future__ import annotations

from grasp_ros.node.parameters import HUGE, Parameter

PLANNER = (
    Parameter(
        'planner.name', 'string', 'grasp',
        choices=('grasp', 'cem', 'icem', 'mppi', 'gradient', 'latco', 'unlifted',
                 'grasp_paper', 'greedy'),
        meaning='The planner. `planner.x` holds for all that take x, but `planner.<name>.x` comes '
        'before it; `greedy` looks three steps ahead and takes no settings, `unlifted` is GRASP '
        "without lifted states, `grasp_paper` GRASP with the paper's settings.",
    ),
    Parameter(
        'planner.horizon', 'integer', 40, unit='model steps', low=1, high=1000,
        meaning='GRASP: how far ahead is planned.',
    ),
    Parameter(
        'planner.iterations', 'integer', 10, low=1, high=10000,
        meaning='GRASP: iterations in a tick, fewer where the deadline comes first.',
    ),
    Parameter(
        'planner.noise_scale', 'double', 0.01, low=0.0, high=10.0,
        meaning="GRASP: noise on the lifted states, in units of the latent's scale; 0 = none.",
    ),
    Parameter(
        'planner.restarts', 'integer', 1, low=1, high=1024,
        meaning='GRASP, gradient, LatCo: plans that are refined side by side in one batch.',
    ),
    Parameter(
        'planner.samples', 'integer', 32, low=0, high=100000,
        meaning='GRASP, gradient, LatCo: plans that are drawn in a tick, half around the last '
        'plan, half over all that the robot can do; the cheapest seed the restarts. 0 = none.',
    ),
    Parameter(
        'planner.sample_spread', 'double', 0.5, low=0.0, high=10.0,
        meaning='Standard deviation of the samples that are drawn around the last plan, in '
        'units of half the action range.',
    ),
    Parameter(
        'planner.action_rate', 'double', 0.15, low=0.0, high=10.0,
        meaning='GRASP: step of the actions in an iteration, in units of half the action '
        'range.',
    ),
    Parameter(
        'planner.state_rate', 'double', 0.3, low=1e-06, high=1.0,
        meaning='GRASP: step of the lifted states towards the prediction; 1 = all the way.',
    ),
    Parameter(
        'planner.goal_weight', 'double', 1.0, low=0.0, high=HUGE,
        meaning='GRASP: weight of the goal in every step of the plan; 0 = at the end only.',
    ),
    Parameter(
        'planner.running_weight', 'double', 1.0, low=0.0, high=HUGE,
        meaning='Weight of the way against the end in the cost that ranks plans; 0 = end only.',
    ),
    Parameter(
        'planner.sync_every', 'integer', 0, low=0, high=10000,
        meaning='GRASP: iterations between two descents through the serial rollout; 0 = never.',
    ),
    Parameter(
        'planner.sync_steps', 'integer', 3, low=1, high=1000,
        meaning='GRASP: gradient steps in a descent through the serial rollout.',
    ),
    Parameter(
        'planner.sync_rate', 'double', 0.05, low=0.0, high=10.0,
        meaning='GRASP: step of a descent through the serial rollout, in units of half the '
        'action range.',
    ),
    Parameter(
        'planner.sync_samples', 'integer', 0, low=0, high=100000,
        meaning='GRASP: 0 = descents through the serial rollout by gradient; else by CEM with '
        'so many samples.',
    ),
    Parameter(
        'planner.sync_elites', 'integer', 8, low=1, high=100000,
        meaning='GRASP: how many of `planner.sync_samples` are kept.',
    ),
    Parameter(
        'planner.noise_decay', 'double', 0.0, low=0.0, high=1.0,
        meaning='GRASP: part of `planner.noise_scale` that has gone before each descent through '
        'the serial rollout.',
    ),
    Parameter(
        'planner.goal_decay', 'double', 0.0, low=0.0, high=1.0,
        meaning='GRASP: part of `planner.goal_weight` that has gone before each descent through '
        'the serial rollout.',
    ),
    Parameter(
        'planner.seed', 'integer', 0, low=0, high=2**31 - 1,
        meaning='Seed of all random numbers of the planner.',
    ),
    Parameter(
        'planner.cem.horizon', 'integer', 30, unit='model steps', low=1, high=1000,
        meaning='CEM: how far ahead is planned.',
    ),
    Parameter(
        'planner.cem.iterations', 'integer', 2, low=1, high=10000,
        meaning='CEM: refits in a tick, fewer where the deadline comes first.',
    ),
    Parameter(
        'planner.cem.samples', 'integer', 64, low=4, high=100000,
        meaning='CEM: action sequences in each refit.',
    ),
    Parameter(
        'planner.cem.elites', 'integer', 8, low=1, high=100000,
        meaning='CEM: how many of the best are kept; at least three fewer than the samples.',
    ),
    Parameter(
        'planner.cem.noise_scale', 'double', 0.5, low=0.0, high=10.0,
        meaning='CEM: first standard deviation, in units of half the action range.',
    ),
    Parameter(
        'planner.cem.return_best', 'integer', 1, low=0, high=1,
        meaning='CEM: 0 = the answer is the mean of the elites, 1 = the cheapest sequence of '
        'all that were seen.',
    ),
    Parameter(
        'planner.icem.horizon', 'integer', 30, unit='model steps', low=1, high=1000,
        meaning='iCEM: how far ahead is planned.',
    ),
    Parameter(
        'planner.icem.iterations', 'integer', 2, low=1, high=10000,
        meaning='iCEM: refits in a tick, fewer where the deadline comes first.',
    ),
    Parameter(
        'planner.icem.samples', 'integer', 64, low=1, high=100000,
        meaning='iCEM: action sequences in the first refit.',
    ),
    Parameter(
        'planner.icem.elites', 'integer', 10, low=1, high=100000,
        meaning='iCEM: how many of the best are kept; no more than the samples.',
    ),
    Parameter(
        'planner.icem.noise_scale', 'double', 0.5, low=0.0, high=10.0,
        meaning='iCEM: first standard deviation, in units of half the action range.',
    ),
    Parameter(
        'planner.icem.noise_exponent', 'double', 2.0, low=0.0, high=10.0,
        meaning='iCEM: the power of the noise falls with frequency to this power; 0 = white.',
    ),
    Parameter(
        'planner.icem.keep_fraction', 'double', 0.3, low=0.0, high=1.0,
        meaning='iCEM: share of the elites that live on into the next refit.',
    ),
    Parameter(
        'planner.icem.decay', 'double', 1.25, low=1.0, high=10.0,
        meaning='iCEM: by which the samples become fewer in every refit; 1 = not at all.',
    ),
    Parameter(
        'planner.icem.momentum', 'double', 0.1, low=0.0, high=0.999,
        meaning='iCEM: share of the old mean and deviation in a refit.',
    ),
    Parameter(
        'planner.icem.return_best', 'integer', 1, low=0, high=1,
        meaning='iCEM: 0 = the answer is the mean of the elites, 1 = the cheapest sequence of '
        'all that were seen.',
    ),
    Parameter(
        'planner.mppi.horizon', 'integer', 30, unit='model steps', low=1, high=1000,
        meaning='MPPI: how far ahead is planned.',
    ),
    Parameter(
        'planner.mppi.iterations', 'integer', 3, low=1, high=10000,
        meaning='MPPI: updates of the mean in a tick, fewer where the deadline comes first.',
    ),
    Parameter(
        'planner.mppi.samples', 'integer', 64, low=4, high=100000,
        meaning='MPPI: action sequences in each update.',
    ),
    Parameter(
        'planner.mppi.noise_scale', 'double', 0.5, low=0.0, high=10.0,
        meaning='MPPI: standard deviation of the samples, in units of half the action range.',
    ),
    Parameter(
        'planner.mppi.noise_decay', 'double', 0.5, low=0.001, high=1.0,
        meaning='MPPI: factor on the standard deviation from one update to the next.',
    ),
    Parameter(
        'planner.mppi.temperature', 'double', 0.05, low=1e-06, high=HUGE,
        meaning='MPPI: how evenly samples are weighed, in standard deviations of their costs.',
    ),
    Parameter(
        'planner.gradient.horizon', 'integer', 30, unit='model steps', low=1, high=1000,
        meaning='Gradient shooting: how far ahead is planned.',
    ),
    Parameter(
        'planner.gradient.iterations', 'integer', 10, low=1, high=10000,
        meaning='Gradient shooting: steps in a tick, fewer where the deadline comes first.',
    ),
    Parameter(
        'planner.gradient.action_rate', 'double', 0.3, low=0.0, high=10.0,
        meaning='Gradient shooting: first step of the actions, in units of half the action '
        'range; it falls to zero.',
    ),
    Parameter(
        'planner.latco.horizon', 'integer', 20, unit='model steps', low=1, high=1000,
        meaning='LatCo: how far ahead is planned.',
    ),
    Parameter(
        'planner.latco.iterations', 'integer', 20, low=1, high=10000,
        meaning='LatCo: steps in a tick, fewer where the deadline comes first.',
    ),
    Parameter(
        'planner.latco.action_rate', 'double', 0.3, low=0.0, high=10.0,
        meaning='LatCo: step of the actions, in units of half the action range.',
    ),
    Parameter(
        'planner.latco.state_rate', 'double', 0.05, low=0.0, high=10.0,
        meaning='LatCo: step of the lifted states, in units of the latent scale.',
    ),
    Parameter(
        'planner.latco.price', 'double', 10.0, low=0.0, high=HUGE,
        meaning='LatCo: weight of the dynamics at the start of a tick.',
    ),
    Parameter(
        'planner.latco.price_rate', 'double', 0.3, low=0.0, high=10.0,
        meaning='LatCo: how fast the weight of the dynamics follows their violation; 0 = not at '
        'all.',
    ),
    Parameter(
        'planner.latco.tolerance', 'double', 0.0001, low=1e-12, high=HUGE,
        meaning='LatCo: violation at which the weight stays as it is.',
    ),
)  # fmt: skip
