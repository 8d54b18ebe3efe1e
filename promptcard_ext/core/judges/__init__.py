"""Judges: models that are asked whether an answer holds. What is asked, how the answer is read, how several vote."""
