"""Measurements; each is a module with ``--help``, run as ``python -m bench.NAME``."""
