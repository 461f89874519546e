"""Where the programs' modules come from, and whether all are there. Imports nothing that may be missing."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import suppress
from pathlib import Path

NEEDED = ("boto3", "portalocker", "rich")
ENVIRONMENT = 253  # as in outcome.py


def check() -> None:
    """End the program, with what to do, where something is missing.

    From here on no module comes from the working folder, where `python -m` looks first: somebody else's `rich.py`, or
    `policies/`, may lie there. (The checkout itself is one. What is imported before this can be kept out by -P alone.)
    """
    with suppress(OSError):  # the working folder was removed
        if sys.path[0] == str(Path.cwd()) and not Path(sys.path[0]).samefile(Path(__file__).parents[2]):
            del sys.path[0]
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"Not installed in this Python ({sys.executable}): {', '.join(missing)}.\n"
            "Enter the environment in which the suite is installed: . .venv/bin/activate\n"
            "or install it in this one: python -m pip install --editable '.[sandbox]'",
            file=sys.stderr,
        )
        sys.exit(ENVIRONMENT)
