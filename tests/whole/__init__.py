"""The programs as a whole: round trips, faults, the wheel, the docs."""
