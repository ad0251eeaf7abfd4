# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files of JSON lines: what a run that was killed leaves behind, and goes on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Lines:
    """A file of JSON lines that may end in half a line, because its writer was killed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; half a line at the end is cut off."""
        if not self.path.is_file():
            return []
        whole, _, rest = self.path.read_bytes().rpartition(b'\n')
        if rest:
            self.path.write_bytes(whole + b'\n' if whole else b'')
        return [json.loads(line) for line in whole.splitlines()]

    def append(self, values: Mapping[str, Any]) -> None:
        """Add a line and hand it to the operating system."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(values) + '\n')
