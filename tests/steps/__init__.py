"""The eight steps, their documents, and the handler."""
