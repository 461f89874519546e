"""API Gateway: definitions, served APIs, what they call, mapping templates."""
