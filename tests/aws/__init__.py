"""What is sent to AWS, answered, repeated and waited for."""
