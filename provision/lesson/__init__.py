"""The lesson: its pages, read and shown one step at a time."""
