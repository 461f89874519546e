"""What stays because something of somebody else's hangs on it."""

from __future__ import annotations

from provision import outcome


class Kept(outcome.Stop):
    """Ours, and not deleted: `others` of somebody else's depend on it. It stays in the ledger."""

    def __init__(self, others: list[str]) -> None:
        super().__init__(f"kept, as others depend on it: {', '.join(others)}")
        self.others = others
