"""What is made of a transcript."""
