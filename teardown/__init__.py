"""The state file read backwards. A module here bears the name of the step that made the resource."""
