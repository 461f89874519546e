"""The IAM and queue documents, as JSON with the placeholders that a person would replace: <account ID>, <table>, ..."""
