# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The controller as a lifecycle node: camera images in, actions out.

Callbacks only keep the newest frame; a :class:`~grasp_ros.node.worker.Worker` does the rest in a
thread of its own, so that the node stays answerable whatever the solver does.

Importing this module imports no torch: that takes seconds, in which others discover the node if it
is there already, which may take as long. So what needs torch is imported where it is used.
"""

from __future__ import annotations

from grasp_ros.node import spin  # first: where ROS is missing, its error names the cure

# isort: split

import sys
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from grasp_ros.errors import GoalError, GraspError
from grasp_ros.msg import GateStatus
from grasp_ros.node import qos, tables
from grasp_ros.node.diagnostics import Diagnostics
from grasp_ros.node.goals import Goal, GoalServer
from grasp_ros.node.health import PARTS, Health, Level
from grasp_ros.node.parameter_server import ParameterServer
from grasp_ros.node.passage import Passage
from grasp_ros.srv import SaveGoal

if TYPE_CHECKING:
    from grasp_ros.control.history import Frame
    from grasp_ros.node.controller_health import ControllerHealth
    from grasp_ros.node.inputs import Inputs
    from grasp_ros.node.reports import Publishers
    from grasp_ros.node.saved_goals import SavedGoals
    from grasp_ros.node.settings import Settings
    from grasp_ros.node.worker import Arrival, Sink, TickReport, Worker

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_STOP_SEC = 1.0  # how long a solver may take to notice that nobody wants its result
_NO_MODEL = Health(Level.OK, 'unconfigured')


class Sinks:
    """Hands a report on to several, in order: what drives the robot first.

    :param sinks: where it goes
    """

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def send(self, report: TickReport) -> None:
        """Hand a report on."""
        for sink in self._sinks:
            sink.send(report)


class MpcNode(LifecycleNode):
    """Subscribes ``image_raw``, or ``image_raw/compressed``, ``goal_image`` and ``gate_status``;
    publishes ``action``, ``planned_actions``, ``solver_statistics``, ``plan``, ``plan_path``,
    ``candidates`` and ``/diagnostics``; serves the action ``drive_to_goal_image`` and the services
    ``save_goal`` and ``clear_warm_start``.

    Of several cameras it subscribes ``<camera>/image_raw``, for proprioception ``joint_states``.
    """

    def __init__(self) -> None:
        super().__init__('mpc_node')
        from grasp_ros.node import torch_first  # noqa: F401  once the node can be discovered

        self._controller = None
        self._inputs: Inputs | None = None
        self._saved_goals: SavedGoals | None = None
        self._outputs: Publishers | None = None
        self._worker: Worker | None = None
        self._health: ControllerHealth | None = None
        self._model_health = _NO_MODEL
        self._settings = ParameterServer(
            self,
            tables.MPC,
            check=self._check,
            apply=self._apply,
            configured=lambda: self._controller is not None,
        )
        self._goals = GoalServer(
            self,
            refusal=self._refusal,
            read=self._read_goal,
            on_goal=self._on_goal,
            on_cancel=self._on_cancel,
        )
        self.create_service(SaveGoal, 'save_goal', self._on_save_goal)
        self.create_service(Trigger, 'clear_warm_start', self._on_clear_warm_start)
        self._passage = Passage(lambda: self._outputs is not None and self._outputs.is_heard())
        topic = 'gate_status'
        self.create_subscription(
            GateStatus, topic, self._passage.hear, 1, **qos.subscription(self, topic)
        )
        # With simulated time a backward jump is a reset of the simulator.
        self._jump = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1)),
            post_callback=self._on_jump,
        )
        # Solver and model log for themselves.
        self._diagnostics = Diagnostics(
            self, self._judge, logged=('camera', 'deadline', 'warm start')
        )
        if self._settings['autostart']:
            self._autostart = self.create_timer(0.0, self._start, clock=spin.STEADY_CLOCK)

    def shut_down(self) -> None:
        """Send the safe command and end the goal."""
        self._stop()

    def is_settled(self) -> bool:
        """Whether all goals have got their result."""
        return self._goals.is_settled()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and solve once; fails with the reason in the log."""
        # rclpy turns an exception in here into an error without a word, so none may escape.
        try:
            started_sec = time.monotonic()
            self._configure()
        except Exception as error:
            text = f'configure failed: {type(error).__name__}: {error}'
            self.get_logger().error(text)
            if isinstance(error, GraspError):  # the text names the cure
                self.get_logger().debug(traceback.format_exc())
            else:
                self.get_logger().error(traceback.format_exc())
            self._release()
            self._model_health = Health(Level.ERROR, text)
            return FAILURE
        seconds = time.monotonic() - started_sec
        card = self._controller.model.card
        from grasp_ros.world_models.captured import memory_bytes

        device = self._controller.model.device
        values = {
            'name': card.name,
            'device': str(device),
            'control_rate_hz': 1 / card.control_period_sec,
            'configure_sec': seconds,
        }
        text = (
            f'model {card.name} on {device} is ready after {seconds:.1f} s; '
            f'control rate {1 / card.control_period_sec:g} Hz'
        )
        taken = memory_bytes(device)
        if taken is not None:
            values['gpu_memory_mib'] = taken / 2**20
            text += f'; {taken / 2**20:.0f} MiB of GPU memory taken'
        self.get_logger().info(text)
        self._model_health = Health(Level.OK, f'model {card.name} is ready', values)
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to tick."""
        from grasp_ros.node.controller_health import ControllerHealth
        from grasp_ros.node.worker import Worker

        result = super().on_activate(state)
        if result is SUCCESS:
            settings = self._read_settings()  # they may have changed since configure
            settings.install(self._controller)
            self._controller.reset()
            self._controller.set_goal(None)
            self._outputs.open()
            self._health = ControllerHealth(self._controller.model.card, self._inputs.sensors)
            self._worker = Worker(
                controller=self._controller,
                settings=settings,
                sink=Sinks(self._outputs, self._health),
                now_sec=self._now_sec,
                logger=self.get_logger(),
                passed=self._passage.share,
            )
            self._worker.start()
            self._inputs.open()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Send the safe command, then fall silent."""
        stopped = self._stop()
        super().on_deactivate(state)
        # A solver that does not come back must not be met by a second one on the same model.
        return SUCCESS if stopped else TransitionCallbackReturn.ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the model."""
        self._release()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Send the safe command and forget the model."""
        self._stop()
        self._release()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget everything, so that configure can be tried again."""
        self._stop()
        self._release()
        return SUCCESS

    def _start(self) -> None:
        self._autostart.cancel()
        if self.trigger_configure() is SUCCESS:
            self.trigger_activate()

    def _configure(self) -> None:
        from grasp_ros.node import settings
        from grasp_ros.node.inputs import Inputs
        from grasp_ros.node.reports import Publishers
        from grasp_ros.node.saved_goals import SavedGoals

        values = self._settings.values
        controller = settings.build_controller(values)
        card = controller.model.card
        self._inputs = Inputs(
            self, card, values, on_frame=self._on_frame, on_set_back=self._start_over
        )
        self._saved_goals = SavedGoals(values['goal.folder'], card)
        self._outputs = Publishers(
            self,
            model=controller.model,
            layout=settings.twist_layout(values, card),
            frame_id=values['frame_id'],
            world_frame_id=values['world_frame_id'],
            frames_received=lambda: self._inputs.sensors.received,
            frames_rejected=lambda: self._inputs.sensors.rejected,
        )
        self._controller = controller

    def _release(self) -> None:
        if self._inputs is not None:
            self._inputs.destroy()
        if self._outputs is not None:
            self._outputs.destroy()
        self._inputs = self._outputs = self._saved_goals = self._controller = None
        self._model_health = _NO_MODEL

    def _stop(self) -> bool:
        """Safe command, end of the goal, end of the worker; whether the latter has ended."""
        if self._worker is None:
            return True
        self._inputs.close()
        self._outputs.close()
        worker, self._worker, self._health = self._worker, None, None
        stopped = worker.stop(_STOP_SEC)
        if not stopped:
            self.get_logger().error(f'the solver does not return after {_STOP_SEC} s')
        return stopped

    def _on_frame(self, arrival: Arrival) -> None:
        self._worker.offer_frame(arrival)
        self._health.receive(arrival)

    def _judge(self) -> Mapping[str, Health]:
        """What to show of each part."""
        if self._health is None:
            parts = dict.fromkeys(PARTS, Health(Level.OK, 'not active'))
        else:
            timeout_sec = self._settings['control.image_timeout_sec']
            parts = self._health.judge(ros_sec=self._now_sec(), timeout_sec=timeout_sec)
        return {**parts, 'model': self._model_health}

    def _refusal(self) -> str:
        return '' if self._worker is not None else 'the node is not active'

    def _read_goal(self, image: Image, name: str) -> Frame:
        """What the sensors see at a goal.

        :raises GraspError: naming what is wrong with it
        """
        if name and image.data:
            raise GoalError('goal_image and goal_name are both given: leave one of them empty')
        if not (name or image.data or image.encoding or image.width or image.height):
            raise GoalError('the goal is empty: send a picture, goal_image, or a name, goal_name')
        return self._saved_goals.load(name) if name else self._inputs.goal(image)

    def _on_save_goal(
        self, request: SaveGoal.Request, response: SaveGoal.Response
    ) -> SaveGoal.Response:
        reason = self._refusal()
        if not reason:
            timeout_sec = self._settings['control.image_timeout_sec']
            try:
                frame = self._inputs.sensors.look(now_sec=self._now_sec(), timeout_sec=timeout_sec)
                path = self._saved_goals.save(request.name, frame, overwrite=request.overwrite)
            except GraspError as error:
                reason = str(error)
        response.success, response.message = not reason, reason or str(path)
        return response

    def _on_clear_warm_start(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        reason = self._refusal()
        if not reason:
            self._worker.clear_warm_start()
        response.success, response.message = not reason, reason or 'dropped at the next tick'
        return response

    def _on_goal(self, goal: Goal) -> None:
        self._worker.set_goal(goal)

    def _on_cancel(self, goal: Goal) -> None:
        if self._worker is not None:
            self._worker.cancel(goal)

    def _on_jump(self, jump: TimeJump) -> None:
        self._start_over()

    def _start_over(self) -> None:
        """Forget what was stamped by a clock that has been set back since."""
        if self._worker is not None:
            self.get_logger().warning('the clock jumped back: frames and plan are dropped')
            self._inputs.sensors.forget()
            self._worker.forget_frames()

    def _check(self, values: Mapping[str, Any]) -> None:
        from grasp_ros.node import settings

        card = None if self._controller is None else self._controller.model.card
        settings.check(values, card)

    def _apply(self, values: Mapping[str, Any]) -> None:
        if self._inputs is not None:
            self._inputs.sensors.tolerance_sec = values['control.sync_tolerance_sec']
        if self._worker is not None:
            self._worker.apply(self._read_settings())

    def _read_settings(self) -> Settings:
        from grasp_ros.node.settings import Settings

        model = self._controller.model
        return Settings.from_values(self._settings.values, model.card, model.device)

    def _now_sec(self) -> float:
        return 1e-9 * self.get_clock().now().nanoseconds


def main(args: list[str] | None = None) -> int:
    """Entry point of ``mpc_node``."""
    return spin.run(MpcNode, args)


if __name__ == '__main__':
    sys.exit(main())
