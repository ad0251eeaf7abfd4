# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Binds a table of parameters to a node: declare, check every change, hand over what changed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from grasp_ros.errors import ConfigError, GraspError
from grasp_ros.node import parameters
from grasp_ros.node.parameters import Parameter
from grasp_ros.node.tables import TABLES

_TYPES = {
    'bool': ParameterType.PARAMETER_BOOL,
    'integer': ParameterType.PARAMETER_INTEGER,
    'double': ParameterType.PARAMETER_DOUBLE,
    'string': ParameterType.PARAMETER_STRING,
    'double[]': ParameterType.PARAMETER_DOUBLE_ARRAY,
    'string[]': ParameterType.PARAMETER_STRING_ARRAY,
}
_FOREIGN = ('use_sim_time', 'qos_overrides', 'start_type_description_service')


class ParameterServer:
    """The parameters of one node.

    :param node: the node that they are declared on
    :param table: its parameters
    :param check: raises :class:`GraspError` when values contradict each other or the model; it is
        given all values as they would be and must have no side effects
    :param apply: called with all values after a change; must return at once
    :param configured: whether parameters that change only while unconfigured are locked
    :raises ConfigError: when a value from file or command line cannot be taken
    """

    def __init__(
        self,
        node: Node,
        table: Sequence[Parameter],
        *,
        check: Callable[[Mapping[str, Any]], None] = lambda values: None,
        apply: Callable[[Mapping[str, Any]], None] = lambda values: None,
        configured: Callable[[], bool] = lambda: False,
    ) -> None:
        self._node = node
        self._table = {parameter.name: parameter for parameter in table}
        self._check = check
        self._apply = apply
        self._configured = configured
        self._values = parameters.defaults(table)
        self._warn_of_unknown_names()
        for parameter in table:
            self._declare(parameter)
        self._first = dict(self._values)
        check(self._values)
        node.add_on_set_parameters_callback(self._on_set)
        node.add_post_set_parameters_callback(self._post_set)

    @property
    def values(self) -> Mapping[str, Any]:
        """Name -> present value, a copy."""
        return dict(self._values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def _declare(self, parameter: Parameter) -> None:
        override = self._node._parameter_overrides.get(parameter.name)
        # An empty list has no type in a parameter file; it arrives as "not set".
        is_set = override is not None and override.type_ != RosParameter.Type.NOT_SET
        value = override.value if is_set else parameter.default
        reason = parameter.problem(value)
        if reason is not None:
            raise ConfigError(reason)
        self._node.declare_parameter(
            parameter.name, parameter.default, _descriptor(parameter), ignore_override=not is_set
        )
        self._values[parameter.name] = _plain(value)

    def _warn_of_unknown_names(self) -> None:
        """ROS ignores a misspelt name in a parameter file; a safety limit may hide in it."""
        known = {parameter.name for table in TABLES.values() for parameter in table}
        for name in self._node._parameter_overrides:
            if name not in known and not name.startswith(_FOREIGN):
                close = difflib.get_close_matches(name, known, 1)
                hint = f'; did you mean {close[0]}?' if close else ''
                self._node.get_logger().warning(f'no parameter {name}: it has no effect{hint}')

    def _on_set(self, changed: list[RosParameter]) -> SetParametersResult:
        reason = self._reason_against(changed)
        for parameter in changed:
            if parameter.name in self._table:
                # With dynamic typing rclpy has written the type that was offered into the
                # descriptor, also when the value is refused.
                descriptor = self._node.describe_parameter(parameter.name)
                descriptor.type = _TYPES[self._table[parameter.name].kind]
        return SetParametersResult(successful=reason is None, reason=reason or '')

    def _reason_against(self, changed: list[RosParameter]) -> str | None:
        values = dict(self._values)
        for parameter in changed:
            known = self._table.get(parameter.name)
            if known is None:
                continue
            reason = known.problem(parameter.value)
            if reason is not None:
                return reason
            is_new = _plain(parameter.value) != values[known.name]
            if is_new and known.changes == 'configure' and self._configured():
                return f'{known.name} cannot change while configured: clean the node up first'
            is_trusted = known.trusted and str(parameter.value).startswith(known.trusted)
            if is_trusted and parameter.value != self._first[known.name]:
                return (
                    f'{known.name}: "{parameter.value}" would be executed: only who starts the '
                    'node may name it, in its parameter file or on its command line'
                )
            values[known.name] = _plain(parameter.value)
        try:
            self._check(values)
        except GraspError as error:
            return str(error)
        return None

    def _post_set(self, changed: list[RosParameter]) -> None:
        ours = {p.name: _plain(p.value) for p in changed if p.name in self._table}
        if ours:
            self._values |= ours
            self._apply(self.values)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    # Dynamic typing, because only then is a value of another type refused by us, with the cure,
    # and not by rclpy, without it.
    descriptor = ParameterDescriptor(
        name=parameter.name,
        type=_TYPES[parameter.kind],
        description=parameter.meaning + (f' [{parameter.unit}]' if parameter.unit else ''),
        additional_constraints=', '.join(parameter.choices),
        read_only=parameter.changes == 'start',
        dynamic_typing=True,
    )
    if parameter.low is not None and parameter.high is not None:
        if parameter.kind == 'double':
            bounds = FloatingPointRange(
                from_value=float(parameter.low), to_value=float(parameter.high), step=0.0
            )
            descriptor.floating_point_range = [bounds]
        elif parameter.kind == 'integer':
            bounds = IntegerRange(
                from_value=int(parameter.low), to_value=int(parameter.high), step=0
            )
            descriptor.integer_range = [bounds]
    return descriptor
