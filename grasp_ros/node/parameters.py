# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a parameter is: type, default, range, unit, meaning. No ROS and no torch in here.

The tables in :mod:`grasp_ros.node.tables` are the one source of all parameters: they declare them
with descriptors, check every change, and print the README. ``python -m
grasp_ros.node.parameters`` prints the README's tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

Kind = Literal['bool', 'integer', 'double', 'string', 'double[]', 'string[]']
Changes = Literal['start', 'configure', 'tick']

HUGE = 1e6  # upper end of a range that has none: a slip of the keyboard is still caught

_EXAMPLES = {
    'bool': 'true or false',
    'integer': 'an integer such as 10',
    'double': 'a double such as 10.0',
    'string': 'a string',
    'double[]': 'a list of doubles such as [10.0]',
    'string[]': "a list of strings such as ['linear.x']",
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    :param name: with its group, e.g. ``planner.horizon``
    :param kind: its type, in the words of ROS
    :param default: used where neither file nor command line says anything
    :param meaning: what it does; states the meaning of zero or of an empty list
    :param unit: empty for a pure number or a name
    :param low: smallest value, None for no bound
    :param high: largest value, None for no bound
    :param choices: the only values; empty for any
    :param changes: when a change takes effect: ``tick`` = with the next control tick, while the
        node runs; ``configure`` = refused while the node is configured; ``start`` = read-only
    :param trusted: values that begin so are taken from whoever starts the node and from nobody
        else: they are executed
    """

    name: str
    kind: Kind
    default: Any
    _: KW_ONLY
    meaning: str
    unit: str = ''
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    changes: Changes = 'tick'
    trusted: str = ''

    def problem(self, value: Any) -> str | None:
        """Why a value cannot be taken and what to write instead; None when it can."""
        if not self._has_right_type(value):
            if self.kind == 'double' and _is_integer(value):
                return f'{self.name}: {value} is an integer, write {float(value)}'
            if self.kind == 'double[]' and _is_list_of(value, _is_number):
                written = [float(entry) for entry in value]
                return f'{self.name}: {list(value)} holds integers, write {written}'
            return f'{self.name}: {value!r} given, write {_EXAMPLES[self.kind]}'
        if self.choices and value not in self.choices:
            return f'{self.name}: "{value}" is unknown, choose one of {", ".join(self.choices)}'
        if self.kind in ('integer', 'double', 'double[]'):
            for number in value if self.kind == 'double[]' else [value]:
                if not self._in_range(number):
                    return f'{self.name}: {number} given, write a number {self.range_text()}'
        return None

    def range_text(self) -> str:
        """The allowed values in words, empty when there is no bound."""
        if self.choices:
            return ', '.join(self.choices)
        unit = f' {self.unit}' if self.unit else ''
        if self.low is not None and self.high is not None:
            return f'from {_number(self.low)} to {_number(self.high)}{unit}'
        if self.low is not None:
            return f'of at least {_number(self.low)}{unit}'
        return 'that is finite' if self.kind.startswith('double') else ''

    def _in_range(self, number: float) -> bool:
        return (
            math.isfinite(number)
            and (self.low is None or number >= self.low)
            and (self.high is None or number <= self.high)
        )

    def _has_right_type(self, value: Any) -> bool:
        match self.kind:
            case 'bool':
                return isinstance(value, bool)
            case 'integer':
                return _is_integer(value)
            case 'double':
                return isinstance(value, float)
            case 'string':
                return isinstance(value, str)
            case 'double[]':
                return _is_list_of(value, lambda entry: isinstance(entry, float))
            case 'string[]':
                return _is_list_of(value, lambda entry: isinstance(entry, str))


def defaults(table: Sequence[Parameter]) -> dict[str, Any]:
    """Name -> default of a table."""
    return {parameter.name: parameter.default for parameter in table}


def problem(table: Sequence[Parameter], values: Mapping[str, Any]) -> str | None:
    """First reason why values cannot be taken; names that are not in the table are passed over."""
    for parameter in table:
        if parameter.name in values:
            reason = parameter.problem(values[parameter.name])
            if reason is not None:
                return reason
    return None


def markdown(tables: Mapping[str, Sequence[Parameter]]) -> str:
    """The README's tables, one for each node."""
    changes = {'tick': 'at once', 'configure': 'unconfigured', 'start': 'read-only'}
    lines = []
    for node, table in tables.items():
        lines += [f'### `{node}`', '', '| name | type | default | range | change | meaning |']
        lines += ['|---|---|---|---|---|---|']
        for p in table:
            unit = f' {p.unit}' if p.unit else ''
            cells = (
                f'`{p.name}`',
                p.kind,
                f'`{literal(p.default)}`{unit}',
                p.range_text() or 'any',
                changes[p.changes],
                p.meaning,
            )
            lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
        lines.append('')
    return '\n'.join(lines)


def literal(value: Any) -> str:
    """A value as it stands in a YAML file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value or "''"
    return str(value)


def _number(value: float) -> str:
    return f'{value:g}'


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_integer(value)


def _is_list_of(value: Any, is_entry) -> bool:
    is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return is_list and all(is_entry(entry) for entry in value)


def main() -> None:
    """Print the README's tables."""
    from grasp_ros.node.tables import TABLES

    print(markdown(TABLES))


if __name__ == '__main__':
    main()
