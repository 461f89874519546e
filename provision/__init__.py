"""The walkthrough as code: eight steps in its own order, one module for each console page.

`python -m provision` runs them. Each is idempotent and recorded in a state file; `python -m teardown` reads it
backwards.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

__version__ = "0.1.0"

# Where policies/, lessons/ and the handler are, in a checkout as in an installed wheel. A folder of the same name where
# somebody works changes nothing.
BESIDE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Step:
    """One step of the walkthrough. `name` is the key that the errata use, `module` the module that does it."""

    number: int
    name: str
    title: str
    module: str

    def load(self) -> ModuleType:
        return importlib.import_module(self.module)


STEPS = (
    Step(1, "policies", "Policies", "provision.policies"),
    Step(2, "roles", "Roles", "provision.roles"),
    Step(3, "table", "Table", "provision.table"),
    Step(4, "queue", "Queue", "provision.message_queue"),
    Step(5, "function", "Function", "provision.function"),
    Step(6, "trigger", "SQS trigger", "provision.trigger"),
    Step(7, "api", "REST API", "provision.api"),
    Step(8, "stage", "Stage", "provision.stage"),
)
