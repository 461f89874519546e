"""Why something recorded is not deleted although AWS would delete it."""

from __future__ import annotations

from provision.terminal import outcome


class Kept(outcome.Stop):
    """Ours, and left as it is, since something of somebody else's would stop working. It stays in the ledger."""
