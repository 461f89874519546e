"""What a run did, written down and read again."""
