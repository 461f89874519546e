"""Whether what the programs need is installed in the Python that runs them. Imports nothing that may be missing."""

from __future__ import annotations

import importlib.util
import sys

NEEDED = ("boto3", "portalocker", "rich")
ENVIRONMENT = 253  # as in outcome.py


def check() -> None:
    """End the program, with what to do, where something is missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"Not installed in this Python ({sys.executable}): {', '.join(missing)}.\n"
            "Enter the environment in which the suite is installed: . .venv/bin/activate\n"
            "or install it in this one: python -m pip install --editable '.[sandbox]'",
            file=sys.stderr,
        )
        sys.exit(ENVIRONMENT)
