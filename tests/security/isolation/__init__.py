"""A machine that looks for a way from one workspace into another."""
