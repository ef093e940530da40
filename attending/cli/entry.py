"""Where the command `attending` begins: every error for the person at the keyboard is one sentence and exit code 2."""

import errno
import sys

import typer

from attending.cli.catalog import COMMANDS, app

Misuse: type[Exception] = typer.BadParameter.__mro__[1]
"""The parser's own error for a command line that it cannot take: typer has no public name for it."""


def of_system(error: OSError) -> str:
    """What the operating system refused, in one sentence: which file, why, and what to do where that is known."""
    remedies = {
        errno.ENOSPC: "; free some space and give the same command again: a run goes on from where it stopped",
        errno.EDQUOT: "; free some space and give the same command again: a run goes on from where it stopped",
        errno.EFBIG: "; raise the limit and give the same command again: a run goes on from where it stopped",
        errno.ENOENT: "; check the path",
        errno.EACCES: "; expected a place that you may read and write",
        errno.ENOTDIR: "; name another --out, which is a folder or not there yet",
        errno.EEXIST: "; name another --out, which is a folder or not there yet",
        errno.EISDIR: "; expected the name of a file",
    }
    if error.errno is None or error.strerror is None:
        return str(error)
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{error.strerror.lower()}{remedies.get(error.errno, '')}"


def _command() -> list[str]:
    """The command that was asked for, where there is one of this name."""
    names = {command.__name__.replace("_", "-") for commands in COMMANDS.values() for command in commands}
    return [word for word in sys.argv[1:2] if word in names]


def main() -> None:
    """Entry point: errors for the person at the keyboard are one sentence and exit code 2."""
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except Misuse as error:
        place = getattr(error, "param", None)
        option = f"{max(place.opts, key=len)}: " if place is not None and place.opts[0].startswith("-") else ""
        sentence = " ".join(str(error).split()).removesuffix(".")
        print(f"attending: {option}{sentence}; see {' '.join(['attending', *_command()])} --help", file=sys.stderr)
        sys.exit(2)
    except ValueError as error:
        print(f"attending: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"attending: {of_system(error)}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("attending: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
