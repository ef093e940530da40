"""`attending serve`, `attending token` and `attending audit-log`: a model behind HTTP, who may ask it, and what was asked.

Beside the API it opens the reading room; without a table of cases that is a page which says how to open it with one.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from attending.commands.showing import err
from attending.commands.showing import out as console

if TYPE_CHECKING:
    from attending.case import Case
    from attending.model.trained import TrainedModel
    from attending.reading_room.room import RoomPlan
    from attending.service.credentials import Credentials
    from attending.streaming import Stream

_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


MOST_SIMILAR = 1_000
"""Cases among which similar ones are looked for; all are held in memory as the networks read them."""


@dataclass(frozen=True, kw_only=True)
class RoomOptions:
    """What was asked of the reading room on the command line."""

    cases: Path | None = None
    where: str | None = None
    companions: Mapping[str, Path] = field(default_factory=dict)
    similar: Path | None = None
    study: Path | None = None
    study_seed: int = 0
    judgement: str | None = None
    reader: str | None = None

    def check(self, *, has_tokens: bool) -> None:
        """Raise `ValueError` for options that do not go together."""
        given = {"--where": self.where, "--similar": self.similar, "--study": self.study, "--reader": self.reader}
        given["--judgement"] = self.judgement
        given |= {f"--{kind}": path for kind, path in self.companions.items()}
        alone = [name for name, value in given.items() if value is not None]
        if self.cases is None and alone:
            raise ValueError(
                f"{alone[0]}: says how the reading room reads its cases, and there are none; give --cases TABLE too"
            )
        if self.judgement is not None and self.study is None:
            raise ValueError("--judgement: says how the readers of a study judge; give --study FILE too")
        if self.reader is not None and self.study is None:
            raise ValueError("--reader: names the reader of a study; give --study FILE too")
        if self.study is not None and self.similar is not None:
            raise ValueError(
                "--similar: shows what the model answers for other cases, which a reader may not have judged; leave it out"
            )
        if self.reader is not None and has_tokens:
            raise ValueError("--reader: with --token-file a reader is known by the token's name; leave it out")


def serve_model(
    path: Path,
    *,
    host: str,
    port: int,
    device: str,
    threads: int,
    token_file: Path | None,
    audit_log: Path | None,
    rate: float,
    most_body_bytes: int,
    room: RoomOptions,
) -> None:
    """Serve until stopped. What may not run is refused before the model is loaded."""
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    if lacking:
        raise ValueError(f'serve needs {", ".join(lacking)}: install the extra, pip install "attending[serve]"')
    from attending.commands.using import ready_model
    from attending.service.app import create_app
    from attending.service.audit_log import AuditLog
    from attending.service.credentials import check_exposure, read_tokens
    from attending.service.server import bound, log_to_stderr, server_of
    from attending.service.settings import Settings

    settings = Settings(
        host=host,
        port=port,
        threads=threads,
        token_file=token_file,
        audit_log=audit_log,
        rate=rate,
        most_body_bytes=most_body_bytes,
    )
    credentials = None if token_file is None else read_tokens(token_file)
    check_exposure(host, credentials)
    room.check(has_tokens=credentials is not None)
    model = ready_model(path, device=device, threads=threads)
    if not model.schema.strip():
        raise ValueError(f"{path}: the model carries no schema, so nobody can say what it reads; take one from attending run")
    with bound(settings) as listening:
        plan = _plan(path, model, room, credentials)
        log = None if audit_log is None else AuditLog(audit_log, model=model.id)
        app = create_app(model, settings=settings, credentials=credentials, audit_log=log, pages=plan.open)
        log_to_stderr()
        port = listening.getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        who = "anybody on this machine" if credentials is None else f"{len(credentials.by_hash)} tokens"
        err.print(f"serving model {model.id} on http://{name}:{port} to {who}", highlight=False, soft_wrap=True)
        _tell_of_room(room, plan.stream, address=f"http://{name}:{port}/")
        with suppress(KeyboardInterrupt):  # the server has ended in order, and there is nothing to go on from
            server_of(app, settings).run(sockets=[listening])


def _plan(path: Path, model: "TrainedModel", room: RoomOptions, credentials: "Credentials | None") -> "RoomPlan":
    """What the reading room is opened with; tables are read as predict reads them, with the key of the model's project."""
    from attending.explanation.assessment_file import read_assessed
    from attending.explanation.pointing import REASONS
    from attending.reading_room.judgement import SCALES, SCORES
    from attending.reading_room.limits import read_card
    from attending.reading_room.room import ANYBODY, RoomPlan
    from attending.service.credentials import check_name

    check_name(room.reader or ANYBODY)
    return RoomPlan(
        stream=None if room.cases is None else _stream(path, model, room.cases, room, where=room.where),
        alike=() if room.similar is None else _alike(path, model, room),
        card=read_card(path),
        assessed=read_assessed(path, model=model.id),
        is_synthetic=room.cases is not None and (room.cases.parent / REASONS).is_file(),
        study=room.study,
        study_seed=room.study_seed,
        scale=SCALES[room.judgement or SCORES.name],
        reader=room.reader or ANYBODY,
        credentials=credentials,
    )


def _stream(path: Path, model: "TrainedModel", table: Path, room: RoomOptions, *, where: str | None) -> "Stream":
    from attending.commands.running import key_file
    from attending.intake import declared_by
    from attending.model.trained import MODEL
    from attending.records.paged import open_table
    from attending.streaming import open_stream

    run = path.resolve()
    run = run if (run / MODEL).is_dir() else run.parent
    return open_stream(
        open_table(table), declared_by(model.schema), key_file=key_file(run), where=where, companions=room.companions
    )


def _alike(path: Path, model: "TrainedModel", room: RoomOptions) -> "tuple[Case, ...]":
    """The first cases of the table of similar ones."""
    assert room.similar is not None
    stream = _stream(path, model, room.similar, room, where=None)
    n = min(len(stream), MOST_SIMILAR)
    if n < len(stream):
        err.print(f"--similar: the first {n} of {len(stream)} cases are looked among", highlight=False, soft_wrap=True)
    return stream.take_in(0, n).intake.cases


def _tell_of_room(room: RoomOptions, stream: "Stream | None", *, address: str) -> None:
    if stream is None:
        err.print(f"the reading room is closed: --cases TABLE opens it at {address}", highlight=False, soft_wrap=True)
        return
    what = "reader study" if room.study is not None else "reading room"
    refused = f", {len(stream.plan.refused)} rows refused" if stream.plan.refused else ""
    err.print(f"{what}: {len(stream)} cases{refused}, at {address}", highlight=False, soft_wrap=True)


def make_token(name: str, *, token_file: Path) -> None:
    """Print a new token, once; the file gets its hash."""
    from attending.service.credentials import new_token

    console.print(new_token(token_file, name), highlight=False, soft_wrap=True)
    err.print(f"the hash of {name}'s token is in {token_file}; the token itself is shown this once", soft_wrap=True)


def verify_audit_log(path: Path, *, holds: str | None) -> None:
    """Say that the log is intact, or where it breaks."""
    from attending.service.audit_log import verify

    found = verify(path, holds=holds)
    if found.broken is not None:
        raise ValueError(
            f"{path}: line {found.broken} does not follow from the line before; {found.entries} lines before it are intact"
        )
    if found.torn_bytes:
        raise ValueError(
            f"{path}: line {found.entries + 1} is unfinished ({found.torn_bytes} bytes), as a killed process leaves it; "
            f"{found.entries} lines are intact, and attending serve cuts it off when it opens the log"
        )
    if holds is not None and not found.holds:
        raise ValueError(f"{path}: no line has the hash given with --holds; this is not the log it was noted from, or not all")
    console.print(f"intact: {found.entries} lines, last hash {found.last}", highlight=False, soft_wrap=True)
