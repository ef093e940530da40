"""The commands around a served model: serving it, tokens for those who may ask, and the audit log of what was asked."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from attending.cli.options import (
    DeviceOption,
    ImagesOption,
    LabsOption,
    ModelArgument,
    NotesOption,
    ThreadsOption,
    WhereOption,
    companions,
)

ROOM = "The reading room"
TokenFileOption = Annotated[Path, typer.Option("--token-file", help="File of token hashes.", metavar="FILE")]


class JudgementScale(StrEnum):
    """On what the readers of a study judge."""

    SCORE = "score"
    YES_NO = "yes-no"


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
    cases: Annotated[
        Path | None,
        typer.Option(
            "--cases", help="Table to read in the reading room, as predict reads one.", metavar="TABLE", rich_help_panel=ROOM
        ),
    ] = None,
    where: WhereOption = None,
    labs: LabsOption = None,
    notes: NotesOption = None,
    images: ImagesOption = None,
    similar: Annotated[
        Path | None,
        typer.Option(
            "--similar",
            help="Show the nearest cases of this table, such as the training table; --labs, --notes, --images hold for it too.",
            metavar="TABLE",
            rich_help_panel=ROOM,
        ),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            "--study",
            help="Reader study: judgements before and after the estimates are added to this CSV; the API answers no case.",
            metavar="FILE",
            rich_help_panel=ROOM,
        ),
    ] = None,
    study_seed: Annotated[
        int,
        typer.Option("--study-seed", help="Each reader's order of cases follows from it and the name.", rich_help_panel=ROOM),
    ] = 0,
    judgement: Annotated[
        JudgementScale | None,
        typer.Option(
            "--judgement",
            help="How readers judge a label, once for the whole study: score (0 to 100; default), or yes-no with a confidence.",
            rich_help_panel=ROOM,
        ),
    ] = None,
    reader: Annotated[
        str | None,
        typer.Option(
            "--reader", help="Who reads in the study; with tokens it is the token's name.", metavar="NAME", rich_help_panel=ROOM
        ),
    ] = None,
) -> None:
    """Answer cases over HTTP: as JSON for other programs, and in a reading room for people.

    The API takes a case and gives estimates, conformal sets, abstentions and explanations. The reading room opens at / with
    --cases: a list, each case with its evidence, estimates and what the model goes by, and "what the model would answer if …".
    With --study readers judge each case before and after they see the estimates.

    Example: attending serve out/diagnosis --cases patients.csv --labs labs.csv

    Example: attending serve out/diagnosis --token-file tokens.txt --audit-log audit.jsonl
    """
    from attending.commands.serving import RoomOptions, serve_model

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
        room=RoomOptions(
            cases=cases,
            where=where,
            companions=companions(labs, notes, images),
            similar=similar,
            study=study,
            study_seed=study_seed,
            judgement=None if judgement is None else judgement.value,
            reader=reader,
        ),
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
