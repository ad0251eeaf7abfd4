# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`grasp-ros call`: calls a service, where `ros2` is not at hand."""

from __future__ import annotations

from grasp_ros.node.asking import ANSWER_SEC, READY_SEC, asking, wait

# isort: split

import importlib
import re
import sys
from collections.abc import Mapping
from typing import Any

import click
import yaml


@click.command('call')
@click.argument('service')
@click.argument('request_text', metavar='REQUEST', default='{}')
def command(service: str, request_text: str) -> None:
    """Call SERVICE with REQUEST, in YAML, and print the answer.

    REQUEST is that of `ros2 service call`, such as '{x: 0.8, y: 0.2}' for `reset_robot`, and may
    be left out; for a std_srvs/SetBool, such as `enable` or `excite`, true or false will do. Lists
    are not taken. Exits with 1 when it is refused.
    """
    fields = _fields(request_text)
    with asking('call') as node:
        name, kinds = node.resolve_service_name(service), []

        def is_served() -> bool:
            kinds[:] = dict(node.get_service_names_and_types()).get(name, ())
            return bool(kinds)

        wait(node, is_served, READY_SEC, f'nobody serves {name}')
        package, _, kind = kinds[0].split('/')
        try:
            service_type = getattr(importlib.import_module(f'{package}.srv'), kind)
        except (ImportError, AttributeError) as error:
            raise click.ClickException(f'{kinds[0]} is not known here: {error}') from error
        request = service_type.Request()
        _fill(request, fields, kinds[0])
        client = node.create_client(service_type, name)
        wait(node, client.service_is_ready, READY_SEC, f'nobody serves {name}')
        future = client.call_async(request)
        wait(node, future.done, ANSWER_SEC, f'no answer of {name} in {ANSWER_SEC:g} s')
        response = future.result()
    if not hasattr(response, 'success'):
        click.echo(response)
        return
    click.echo(getattr(response, 'message', '') or ('done' if response.success else 'refused'))
    sys.exit(not response.success)


def _fields(text: str) -> Mapping[str, Any]:
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise click.ClickException(f'{text} is no YAML: {error}') from error
    if isinstance(fields, bool):
        return {'data': fields}
    if not isinstance(fields, Mapping):
        raise click.ClickException(f'{text} names no fields; {{x: 0.8}} would, or true')
    return fields


def _fill(message: Any, fields: Mapping[str, Any], kind: str) -> None:
    """Write what is known of a message into it.

    :raises click.ClickException: naming a field that there is not, or that cannot be that
    """
    there = message.get_fields_and_field_types()
    for name, value in fields.items():
        if name not in there:
            names = ', '.join(there) or 'nothing'
            raise click.ClickException(f'{kind} has no {name}, but {names}')
        present = getattr(message, name)
        if hasattr(present, 'get_fields_and_field_types') and isinstance(value, Mapping):
            _fill(present, value, there[name])
            continue
        if not isinstance(present, str | bool | int | float):
            raise click.ClickException(f'{name} of {kind} is a {there[name]}: that is for ros2')
        try:
            setattr(message, name, _number(value, present, there[name]))
        except ValueError as error:
            raise click.ClickException(
                f'{name} of {kind} must be a {there[name]}, is {value!r}'
            ) from error


def _number(value: Any, present: Any, kind: str) -> Any:
    """A value as its field takes it; strings and truth values as they are.

    :raises ValueError: when it cannot be that
    """
    if type(present) is float and type(value) in (int, str):
        return float(value)  # 1e-1 is a string in YAML
    if type(value) is not type(present):
        raise ValueError
    integer = re.fullmatch(r'(u?)int(\d+)', kind)
    if integer:
        bits = int(integer[2])
        low, high = (0, 2**bits) if integer[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1))
        if not low <= value < high:  # what does not fit would be sent as something else
            raise ValueError
    return value
