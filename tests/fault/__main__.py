"""``python -m tests.fault``."""

from __future__ import annotations

import argparse
import sys

from tests.fault import host_loss, storm, sweep


def main() -> int:
    """Carry out a command; return 0 when all invariants held."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault", description="Do harm, and look at what is left.")
    commands = parser.add_subparsers(required=True)
    storm.add(commands)
    sweep.add(commands)
    host_loss.add(commands)
    arguments = parser.parse_args()
    return int(arguments.command(arguments))


if __name__ == "__main__":
    sys.exit(main())
