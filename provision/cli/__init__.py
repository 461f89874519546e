"""The command line: what was asked for, run to its end, and told."""
