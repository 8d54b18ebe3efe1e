"""``python -m promptcard_ext.cli``: the same as ``jupyter promptcards``."""

from promptcard_ext.cli import main

main()
