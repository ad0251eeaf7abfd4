# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of all nodes. ``config/mpc.yaml`` and the README are compared with this in tests.

Names are unique over the nodes, so that one file keyed ``/**`` serves them all. The gate is a
light process: nothing in here may import torch.
"""

from __future__ import annotations

from grasp_ros.node.parameters import HUGE, Parameter
from grasp_ros.node.planner_tables import PLANNER

MPC = (
    Parameter(
        'autostart', 'bool', True, changes='start',
        meaning='Configure and activate by itself; false leaves that to a lifecycle manager.',
    ),
    Parameter(
        'frame_id', 'string', 'base_link', changes='configure',
        meaning='Frame in which the action is meant, for the headers.',
    ),
    Parameter(
        'world_frame_id', 'string', 'world', changes='configure',
        meaning="Frame of the places that the model's position probe gives: of `plan`, "
        '`plan_path` and `candidates`.',
    ),
    Parameter(
        'image_transport', 'string', 'raw', choices=('raw', 'compressed'), changes='start',
        meaning='What the camera is heard on: `raw` = `image_raw`, `compressed` = '
        '`image_raw/compressed`, JPEG or PNG; where `image_raw` is remapped, `/compressed` '
        'follows the other name.',
    ),
    Parameter(
        'model.path', 'string', 'two_rooms', changes='configure', trusted='python:',
        meaning='World model: the name of a shipped one, a folder with `card.json` and '
        '`model.safetensors`, or a Python function that makes it, which is then executed, and so '
        'can be named at the start alone: `python:package.module:function?name=value`.',
    ),
    Parameter(
        'model.device', 'string', 'cpu', changes='configure',
        meaning='Where model and planner run: `cpu`, `cuda`, `cuda:1`, ...',
    ),
    Parameter(
        'model.threads', 'integer', 1, low=0, high=256, changes='configure',
        meaning='Threads of torch on the CPU; 0 = as many as torch takes. Small models are '
        'fastest with one.',
    ),
    Parameter(
        'model.precision', 'string', 'float32', choices=('float32', 'bfloat16'),
        changes='configure',
        meaning='Digits of the products inside the model: `bfloat16` = half of them, by automatic '
        'mixed precision, for large models on a GPU; latents and actions stay in float32.',
    ),
    Parameter(
        'model.cuda_graphs', 'bool', True, changes='configure',
        meaning='On a GPU: whether encoder, rollouts and iterations are captured and launched as '
        'one; false for a model that cannot be captured.',
    ),
    *PLANNER,
    Parameter(
        'control.rate', 'double', 0.0, unit='Hz', low=0.0, high=1000.0, changes='configure',
        meaning="Control rate; 0 = the model's own. The control period is the model step "
        'divided by the action block k of the card, so any other rate is refused with '
        'the numbers.',
    ),
    Parameter(
        'control.deadline_sec', 'double', 0.0, unit='s', low=0.0, high=10.0,
        meaning='Time for encode and solve in a tick, at most the control period; 0 = 60 % of '
        'the period.',
    ),
    Parameter(
        'control.schedule', 'string', 'ahead', choices=('after_frame', 'ahead'),
        meaning='When is solved: `after_frame`, or `ahead`, before it comes, in what the last '
        'tick left of the period but a tenth; the frame then corrects the first action alone.',
    ),
    Parameter(
        'control.feedback_updates', 'integer', 1, low=0, high=100,
        meaning='Schedule `ahead`: Gauss-Newton updates of the first action after the frame; 0 = '
        'the prepared plan as it is.',
    ),
    Parameter(
        'control.warm_start', 'string', 'full', choices=('none', 'actions', 'full'),
        meaning='What of the previous plan the next solve starts from.',
    ),
    Parameter(
        'control.latency_compensation', 'bool', True,
        meaning='Whether plans begin where their first action takes effect (age of the image, '
        'time to encode and solve, `control.actuator_delay_sec`), or where the robot was seen.',
    ),
    Parameter(
        'control.actuator_delay_sec', 'double', 0.0, unit='s', low=0.0, high=5.0,
        meaning='From a command being sent to the robot following it, where known; 0 = at once.',
    ),
    Parameter(
        'control.innovation_limit', 'double', 0.0, low=0.0, high=HUGE,
        meaning='Latent distance between what was foreseen and what is seen that counts as '
        "large; 0 = the card's calibrated one.",
    ),
    Parameter(
        'control.unforeseen_frames', 'integer', 6, low=0, high=1000,
        meaning='Frames in a row with an innovation above `control.innovation_limit` that stop '
        'the robot until there is another goal (covered lens, unknown world, a moved '
        'camera that the model does not bear); 0 = never. Judged is one in each model step.',
    ),
    Parameter(
        'control.frozen_frames', 'integer', 5, low=0, high=1000,
        meaning='Frames in a row that stay the same to the last bit though the robot should '
        'move, that stop it until there is another goal; 0 = never, and also where the '
        'card has no `motion_limit`. Judged is one in each model step.',
    ),
    Parameter(
        'control.drop_innovation', 'double', 200.0, low=0.0, high=HUGE,
        meaning='Multiple of `control.innovation_limit` above which the warm start is dropped: '
        'the robot is somewhere else. After a mere kick it is worth keeping; 0 = never.',
    ),
    Parameter(
        'control.drop_failures', 'integer', 2, low=1, high=1000,
        meaning='Failed solves in a row after which warm start and plan are dropped, so that the '
        'robot stops until one succeeds.',
    ),
    Parameter(
        'control.image_timeout_sec', 'double', 0.5, unit='s', low=0.01, high=60.0,
        meaning='Age of the newest image above which the safe command is sent.',
    ),
    Parameter(
        'control.sync_tolerance_sec', 'double', 0.05, unit='s', low=0.0, high=10.0,
        meaning='How far apart the stamps of images and joint states may be that make one frame, '
        'where the model has several cameras or proprioception.',
    ),
    Parameter(
        'control.max_action', 'double[]', [], unit="card's units", low=0.0, high=HUGE,
        meaning="Largest amount of each action; empty = the card's bounds, which it never "
        'exceeds.',
    ),
    Parameter(
        'control.max_action_rate', 'double[]', [], unit="card's units/s", low=0.0, high=HUGE,
        meaning='Largest change of each action in a second; empty = no limit.',
    ),
    Parameter(
        'control.output_fields', 'string[]', [], changes='configure',
        meaning='Field of the twist that each action goes to, `linear.x` to `angular.z`; empty '
        "= the action names of the model's card.",
    ),
    Parameter(
        'control.output_scales', 'double[]', [], low=-HUGE, high=HUGE, changes='configure',
        meaning="Factor on each action in the twist, from the card's unit to m/s or rad/s, or its "
        'sign; empty = 1.',
    ),
    Parameter(
        'proprioception.fields', 'string[]', [], changes='configure',
        meaning="Where in `joint_states` each proprioceptive signal of the model's card is: "
        '`joint1/position`, `joint1/velocity` or `joint1/effort`; empty = the position of the '
        'joint with the name of the signal.',
    ),
    Parameter(
        'goal.folder', 'string', '~/.ros/grasp_ros/goals', changes='start',
        meaning='Where `save_goal` saves goals and `goal_name` finds them, as PNG files; `~` is '
        'the home folder.',
    ),
    Parameter(
        'goal.tolerance', 'double', 0.0, low=0.0, high=HUGE,
        meaning='Latent distance under which the robot counts as being at the goal; 0 = the '
        "card's calibrated one.",
    ),
    Parameter(
        'goal.dwell_sec', 'double', 0.5, unit='s', low=0.0, high=600.0,
        meaning='How long the distance to the goal must stay under `goal.tolerance`; 0 = one '
        'look is enough.',
    ),
    Parameter(
        'goal.timeout_sec', 'double', 60.0, unit='s', low=0.0, high=86400.0,
        meaning='Time after which a goal ends with TIMEOUT, unless the goal brings its own; 0 '
        '= never.',
    ),
    Parameter(
        'goal.no_progress_sec', 'double', 15.0, unit='s', low=0.0, high=86400.0,
        meaning='Time without a new smallest distance after which a goal ends with '
        'NO_PROGRESS; 0 = never.',
    ),
    Parameter(
        'goal.fault_timeout_sec', 'double', 2.0, unit='s', low=0.0, high=86400.0,
        meaning='Time without image or without plan after which a goal ends with NO_IMAGE or '
        'SOLVER_FAILED, so that the robot does not move by itself when they are back; 0 = never.',
    ),
)  # fmt: skip

GATE = (
    Parameter(
        'gate.rate', 'double', 50.0, unit='Hz', low=1.0, high=1000.0, changes='start',
        meaning='Rate at which the robot is sent a command, whatever the controller does.',
    ),
    Parameter(
        'gate.start_enabled', 'bool', False, changes='start',
        meaning='Start armed; false = nothing moves before the service `enable` is called.',
    ),
    Parameter(
        'gate.command_timeout_sec', 'double', 0.3, unit='s', low=0.01, high=10.0,
        meaning='Age of the newest command above which the robot is stopped.',
    ),
    Parameter(
        'gate.rearm_after_sec', 'double', 2.0, unit='s', low=0.0, high=600.0,
        meaning='A fault that lasts longer needs a new `enable`; 0 = every fault does.',
    ),
    Parameter(
        'gate.speed_scale', 'double', 1.0, low=0.0, high=1.0,
        meaning='Factor on every command; 0 = stand still.',
    ),
    Parameter(
        'gate.dry_run', 'bool', False,
        meaning='Check and count commands, but send the robot only the safe one.',
    ),
    Parameter(
        'gate.max_linear', 'double', 0.5, unit='m/s', low=0.0, high=100.0,
        meaning='Largest linear speed; the direction is kept.',
    ),
    Parameter(
        'gate.max_angular', 'double', 1.0, unit='rad/s', low=0.0, high=100.0,
        meaning='Largest angular speed; the axis is kept.',
    ),
    Parameter(
        'gate.max_linear_acceleration', 'double', 0.0, unit='m/s^2', low=0.0, high=1000.0,
        meaning='Largest change of the linear velocity while commands pass; 0 = no limit.',
    ),
    Parameter(
        'gate.max_angular_acceleration', 'double', 0.0, unit='rad/s^2', low=0.0, high=1000.0,
        meaning='Largest change of the angular velocity while commands pass; 0 = no limit.',
    ),
    Parameter(
        'gate.linear_deceleration', 'double', 0.0, unit='m/s^2', low=0.0, high=1000.0,
        meaning='Deceleration of a stop, of the gate or by a command of zero; 0 = zero velocity '
        'at once.',
    ),
    Parameter(
        'gate.angular_deceleration', 'double', 0.0, unit='rad/s^2', low=0.0, high=1000.0,
        meaning='Angular deceleration of a stop, of the gate or by a command of zero; 0 = zero '
        'velocity at once.',
    ),
    Parameter(
        'gate.output_type', 'string', 'TwistStamped', changes='start',
        choices=('TwistStamped', 'Twist', 'Float64MultiArray', 'JointTrajectory'),
        meaning='What the robot is sent on `cmd_vel`; the safe command is zero in each, and in a '
        'JointTrajectory its end, where the robot holds.',
    ),
    Parameter(
        'gate.output_joints', 'string[]', [], changes='start',
        meaning='JointTrajectory: the joint that each of its numbers is the velocity of.',
    ),
    Parameter(
        'gate.output_fields', 'string[]', [], changes='start',
        meaning='Float64MultiArray, JointTrajectory: field of the twist, `linear.x` to '
        '`angular.z`, that each of its numbers is; empty = all six.',
    ),
    Parameter(
        'gate.output_scales', 'double[]', [], low=-HUGE, high=HUGE, changes='start',
        meaning='Float64MultiArray, JointTrajectory: factor on each of its numbers, behind all '
        "limits, which are in the twist's units; empty = 1.",
    ),
)  # fmt: skip

SIM = (
    Parameter(
        'sim.world', 'string', 'two_rooms', changes='start',
        choices=(
            'two_rooms', 'inertial_two_rooms', 'point_maze', 'push_t', 'staggered_walls',
            'random_door',
        ),
        meaning='The embedded world. With inertia, commands are accelerations, so that a command '
        'of zero lets the robot coast.',
    ),
    Parameter(
        'sim.layout', 'integer', 0, low=0, high=24, changes='start',
        meaning='Layout of the walls, where a world has several.',
    ),
    Parameter(
        'sim.rate', 'double', 30.0, unit='Hz', low=1.0, high=200.0, changes='start',
        meaning='Rate of the camera.',
    ),
    Parameter(
        'sim.image_size', 'integer', 64, unit='pixels', low=16, high=1024, changes='start',
        meaning='Width and height of the picture.',
    ),
    Parameter(
        'sim.compressed_format', 'string', 'png', choices=('jpeg', 'png'),
        meaning='What is sent on `image_raw/compressed`, if someone listens. Of the shipped '
        'models, those of `two_rooms` alone saw JPEGs in training.',
    ),
    Parameter(
        'sim.command_timeout_sec', 'double', 0.5, unit='s', low=0.01, high=10.0,
        meaning='Time without a command after which the robot brakes.',
    ),
    Parameter(
        'sim.seed', 'integer', 0, low=0, high=2**31 - 1, changes='start',
        meaning='Seed of the first place of the robot.',
    ),
)  # fmt: skip

EXCITE = (
    Parameter(
        'excite.rate', 'double', 10.0, unit='Hz', low=1.0, high=1000.0, changes='start',
        meaning='Rate of the commands: the control rate that the model will have.',
    ),
    Parameter(
        'excite.fields', 'string[]', ['linear.x', 'linear.y'],
        meaning='Fields of the twist that are excited, `linear.x` to `angular.z`.',
    ),
    Parameter(
        'excite.max_command', 'double[]', [0.3, 0.3], unit='m/s, rad/s', low=0.0, high=100.0,
        meaning='Largest amount of each of them, as the model will use it; the limits of the gate '
        'come behind it.',
    ),
    Parameter(
        'excite.amplitude', 'double[]', [], low=0.0, high=1.0,
        meaning='Share of it that is used, for each; 0 = it stays still, empty = all of it.',
    ),
    Parameter(
        'excite.time_constant_sec', 'double', 0.6, unit='s', low=0.0, high=600.0,
        meaning='Mean time that a command is held; 0 = another one in every step.',
    ),
    Parameter(
        'excite.duration_sec', 'double', 60.0, unit='s', low=0.1, high=86400.0,
        meaning='How long the robot is driven after the service `excite` was called; read then.',
    ),
    Parameter(
        'excite.seed', 'integer', 0, low=0, high=2**31 - 1,
        meaning='Of the commands: equal seeds give equal ones; read when `excite` is called.',
    ),
)  # fmt: skip

TABLES = {'mpc_node': MPC, 'gate_node': GATE, 'sim_node': SIM, 'excite_node': EXCITE}
