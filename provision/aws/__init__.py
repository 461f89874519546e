"""Clients, and everything that happens to a call between the suite and AWS."""
