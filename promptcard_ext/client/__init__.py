"""HTTP access to a Prompt Cards server."""
