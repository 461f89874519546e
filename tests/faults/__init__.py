"""Every fault at every call: `python -m tests.faults`."""
