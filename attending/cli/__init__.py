"""The command line: one function per command. Parses, calls, prints; what it prints is counts and estimates, never a patient.

Heavy imports stand inside the commands, so that `attending --help` answers at once. A `ValueError` or `OSError` is for the
person at the keyboard: one sentence, exit code 2.
"""

from attending.cli.catalog import NOTICE, app
from attending.cli.entry import main

__all__ = ["NOTICE", "app", "main"]
