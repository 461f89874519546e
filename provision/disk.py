"""Files that are replaced while somebody else may be reading them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

# Windows refuses to replace a file that another program has open, be it a virus scanner's look at it.
PATIENCE = 2.0 if sys.platform == "win32" else 0.0
PAUSE = 0.05


def replace(
    temporary: Path, path: Path, *, patience: float = PATIENCE, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Put the temporary file in the place of `path`, in one go; after a refusal again for `patience` seconds."""
    for _ in range(round(patience / PAUSE)):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            sleep(PAUSE)
    temporary.replace(path)
