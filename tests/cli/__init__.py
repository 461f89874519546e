"""The command lines, their options, results and errors."""
