"""Editing a card: its form, what is wrong with it, what it says, where it is kept. Nothing here is a widget."""
