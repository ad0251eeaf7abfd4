# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pages that commands write a part of: what stands between two marks of its name."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from grasp_ros.errors import ConfigError


def heading(command: str) -> str:
    """What a part begins with: command, machine and versions."""
    processor = platform.machine()
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.is_file():
        names = (line for line in cpuinfo.read_text().splitlines() if 'model name' in line)
        processor = next(names, f': {processor}').partition(': ')[2]
    return (
        f'`{command}`; {os.cpu_count()} cores, {processor}, '
        f'Python {platform.python_version()}, torch {version("torch")}.'
    )


def write_part(file: Path, name: str, text: str) -> None:
    """Replace a part of a page.

    :raises ConfigError: when the page has no such part
    """
    before, after = around_part(file, name)
    file.write_text(f'{before}{text.strip()}\n{after}', encoding='utf-8')


def around_part(file: Path, name: str) -> tuple[str, str]:
    """What stands before and behind a part of a page, its marks included.

    :raises ConfigError: when the page has no such part
    """
    begin, end = f'<!-- begin {name} -->\n', f'<!-- end {name} -->'
    page = file.read_text(encoding='utf-8') if file.is_file() else ''
    before, is_there, rest = page.partition(begin)
    _, is_closed, after = rest.partition(end)
    if not (is_there and is_closed):
        raise ConfigError(f'{file} has no lines "{begin.strip()}" and "{end}" to write between')
    return before + begin, end + after
