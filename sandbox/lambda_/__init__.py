"""Lambda: functions in child processes, their logs, event source mappings."""
