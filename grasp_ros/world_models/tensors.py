# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files of tensors: whole or not at all, and with the rights that other files get."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError


def write(path: Path, save: Callable[[Path], None]) -> None:
    """Write a file of safetensors; a kill at any time leaves the old one or the new one.

    :param save: writes it to another path
    :raises OSError: when it cannot be written; what was there before stays
    """
    part = path.with_name(f'.{path.name}.part')
    try:
        part.touch()
        rights = part.stat().st_mode  # as the umask has them; safetensors gives none to others
        save(part)
        part.chmod(rights)
        os.replace(part, path)
    except (OSError, SafetensorError) as error:  # the latter is what it makes of a full disk
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise OSError(str(error)) from error
