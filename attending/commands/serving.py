"""`attending serve`, `attending token` and `attending audit-log`: a model behind HTTP, who may ask it, and what was asked."""

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from attending.commands.showing import err
from attending.commands.showing import out as console

_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


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
    model = ready_model(path, device=device, threads=threads)
    if not model.schema.strip():
        raise ValueError(f"{path}: the model carries no schema, so nobody can say what it reads; take one from attending run")
    with bound(settings) as listening:
        log = None if audit_log is None else AuditLog(audit_log, model=model.id)
        app = create_app(model, settings=settings, credentials=credentials, audit_log=log)
        log_to_stderr()
        port = listening.getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        who = "anybody on this machine" if credentials is None else f"{len(credentials.by_hash)} tokens"
        err.print(f"serving model {model.id} on http://{name}:{port} to {who}", highlight=False, soft_wrap=True)
        with suppress(KeyboardInterrupt):  # the server has ended in order, and there is nothing to go on from
            server_of(app, settings).run(sockets=[listening])


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
