"""The state file, and whose a resource is."""
