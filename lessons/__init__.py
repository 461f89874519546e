"""The lesson: a page for each step, and the three faces of a call."""
