"""The state file: what the deployment has made, and whose it is."""
