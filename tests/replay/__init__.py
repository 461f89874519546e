"""A recorded run, played again or exported."""
