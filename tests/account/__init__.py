"""What is in the account: plan, status, conflicts, recovery, trace."""
