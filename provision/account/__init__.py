"""What is in the account, and whose it is: looked at, planned, tested, counted."""
