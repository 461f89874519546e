"""From bytes to an operation, and from a refusal back to bytes."""
