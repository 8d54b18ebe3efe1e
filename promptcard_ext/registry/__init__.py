"""Saved prompts for programs: fetched once, kept, and fetched again when they change."""
