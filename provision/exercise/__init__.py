"""A fault put into a learner's own deployment, for the learner to find, and taken out again."""
