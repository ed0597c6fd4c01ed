"""The command line: one file a command, which parses, makes one library call, and prints."""

from ostinato.cli.app import main

__all__ = ["main"]
