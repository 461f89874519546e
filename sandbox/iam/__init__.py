"""IAM: who may call what, and what AWS refuses of policies and roles."""
