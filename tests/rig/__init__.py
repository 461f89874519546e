"""What the tests are made with: deployments, programs, terminals, clocks."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
