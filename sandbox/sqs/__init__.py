"""SQS: both protocols, and the messages of standard queues."""
