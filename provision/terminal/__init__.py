"""The terminal and the disk. Nothing in here knows AWS."""
