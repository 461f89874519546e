"""The lesson and its pages."""
