"""AWS's slow and unreliable side, drawn from a seed."""
