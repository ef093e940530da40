"""The commands around a served model: serving it, tokens for those who may ask, and the audit log of what was asked."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from attending.cli.options import DeviceOption, ModelArgument, ThreadsOption

TokenFileOption = Annotated[Path, typer.Option("--token-file", help="File of token hashes.", metavar="FILE")]


class LogAction(StrEnum):
    """What is done with an audit log."""

    VERIFY = "verify"


def serve(
    model: ModelArgument,
    host: Annotated[str, typer.Option(help="Address to listen on; without tokens a loopback one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port (0: any free one).")] = 8000,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="Who may ask: names and hashes of tokens.", metavar="FILE")
    ] = None,
    audit_log: Annotated[
        Path | None, typer.Option("--audit-log", help="Append an entry of each request to this file.", metavar="FILE")
    ] = None,
    rate: Annotated[float, typer.Option(help="Requests a second of one client (0: no limit).")] = 50.0,
    max_body: Annotated[int, typer.Option("--max-body", help="Largest request, in bytes.")] = 16 * 1024 * 1024,
) -> None:
    """Answer cases over HTTP: estimates, conformal sets, abstentions and explanations as JSON.

    Example: attending serve out/diagnosis --token-file tokens.txt --audit-log audit.jsonl
    """
    from attending.commands.serving import serve_model

    serve_model(
        model,
        host=host,
        port=port,
        device=device,
        threads=threads,
        token_file=token_file,
        audit_log=audit_log,
        rate=rate,
        most_body_bytes=max_body,
    )


def token(
    name: Annotated[str, typer.Argument(help="Who will use it; stands in the audit log.", metavar="NAME")],
    token_file: TokenFileOption,
) -> None:
    """Make a token for one client of attending serve: it is printed once, the file keeps its hash.

    Example: attending token ward-7 --token-file tokens.txt
    """
    from attending.commands.serving import make_token

    make_token(name, token_file=token_file)


def audit_log(
    action: Annotated[LogAction, typer.Argument(help="verify: does every line follow from the one before?")],
    file: Annotated[Path, typer.Argument(help="The log that attending serve wrote.", metavar="FILE")],
    holds: Annotated[str | None, typer.Option(help="A last hash noted earlier, which the log must still hold.")] = None,
) -> None:
    """Say whether an audit log is intact, or which line is the first that is not.

    Example: attending audit-log verify audit.jsonl
    """
    from attending.commands.serving import verify_audit_log

    if action is LogAction.VERIFY:
        verify_audit_log(file, holds=holds)
