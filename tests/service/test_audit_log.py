"""The log: a changed line is found, a torn one cut off and noted, and what was answered before a kill -9 is in it."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from attending.model.trained import TrainedModel
from attending.service import audit_log
from attending.service.audit_log import START, AuditLog, AuditLogError, verify
from tests.command_line import call
from tests.service.asking import WHOLE, Client


def written(path: Path, n: int = 5) -> list[bytes]:
    """A log of `n` entries between its opening and its closing."""
    log = AuditLog(path, model="m")

    async def entries() -> None:
        await asyncio.gather(*(log.append({"request": f"r{number}", "status": 200}) for number in range(n)))

    asyncio.run(entries())
    log.close()
    return path.read_bytes().splitlines(keepends=True)


def test_each_line_holds_the_hash_of_the_line_before(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    lines = [json.loads(line) for line in written(path)]
    assert len(lines) == 7
    assert [line["previous"] for line in lines] == [START, *(line["hash"] for line in lines[:-1])]
    assert [line.get("event") for line in lines] == ["opened", *[None] * 5, "closed"]
    found = verify(path, holds=lines[3]["hash"])
    assert (found.entries, found.broken, found.torn_bytes, found.holds) == (7, None, 0, True)
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_planted_change_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    lines = written(path)
    planted = {
        "a status": (3, [line.replace(b"200", b"500") if number == 2 else line for number, line in enumerate(lines)]),
        "a line taken out": (4, [*lines[:3], *lines[4:]]),
        "the first taken out": (1, lines[1:]),
        "two exchanged": (3, [*lines[:2], lines[3], lines[2], *lines[4:]]),
        "one twice": (4, [*lines[:3], lines[2], *lines[3:]]),
        "one put in": (4, [*lines[:3], b'{"status":200}\n', *lines[3:]]),
        "a space": (2, [lines[0], lines[1].replace(b":", b": ", 1), *lines[2:]]),
        "an empty line": (3, [*lines[:2], b"\n", *lines[2:]]),
    }
    for name, (broken, changed) in planted.items():
        path.write_bytes(b"".join(changed))
        assert verify(path).broken == broken, name
        said = call("audit-log", "verify", path)
        assert (said.code, f"line {broken} does not follow" in said.sentence) == (2, True), name
        with pytest.raises(AuditLogError, match=f"line {broken} does not follow"):
            AuditLog(path, model="m")


def test_any_changed_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    whole = b"".join(written(path, 1))
    for place in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = verify(path)
        assert found.broken is not None or found.torn_bytes, place


@pytest.mark.parametrize("end", [b'{"time":"2026', b"\0" * 100, b"\0" * 100_000])
def test_an_unfinished_end_is_cut_off_and_noted(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "audit.jsonl"
    lines = written(path)
    path.write_bytes(b"".join(lines) + end)
    assert verify(path).torn_bytes == len(end)
    said = call("audit-log", "verify", path)
    assert (said.code, "line 8 is unfinished" in said.sentence) == (2, True)
    AuditLog(path, model="m").close()
    assert verify(path).broken is None
    again = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert (again[7]["event"], again[7]["cut_bytes"]) == ("opened", len(end))
    assert path.read_bytes().startswith(b"".join(lines))


def test_an_end_that_was_cut_away_is_found_by_a_hash_noted_before(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    lines = written(path)
    last = call("audit-log", "verify", path).out.split()[-1]
    assert last == json.loads(lines[-1])["hash"]
    path.write_bytes(b"".join(lines[:4]))
    assert call("audit-log", "verify", path).code == 0
    said = call("audit-log", "verify", path, "--holds", last)
    assert (said.code, "no line has the hash" in said.sentence) == (2, True)


def test_one_process_at_a_time_writes(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, model="m")
    with pytest.raises(AuditLogError, match="another process writes to it"):
        AuditLog(path, model="m")
    log.close()
    AuditLog(path, model="m").close()


def test_a_log_that_is_not_there_or_has_lost_its_secret_is_told(tmp_path: Path) -> None:
    said = call("audit-log", "verify", tmp_path / "none.jsonl")
    assert (said.code, "no such file" in said.sentence) == (2, True)
    path = tmp_path / "audit.jsonl"
    written(path)
    (tmp_path / "audit.jsonl.key").write_bytes(b"short")
    with pytest.raises(AuditLogError, match=r"its secret audit\.jsonl\.key is damaged"):
        AuditLog(path, model="m")


def test_requests_are_logged_by_a_keyed_hash_of_their_inputs(model: TrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with Client(model, audit_log=AuditLog(path, model=model.id)) as client:
        answers = [client.diagnose(WHOLE), client.diagnose(WHOLE), client.diagnose({}), client.ask("GET", "/nowhere")]
        client.ask("GET", "/health")
        client.ask("GET", "/metrics")
    entries = [json.loads(line) for line in path.read_bytes().splitlines()][1:-1]
    assert [entry["request"] for entry in entries] == [answer.headers["x-request-id"] for answer in answers]
    assert [entry["route"] for entry in entries] == ["/v1/diagnoses"] * 3 + ["none"]
    assert [entry["status"] for entry in entries] == [200, 200, 200, 404]
    assert {entry["model"] for entry in entries} == {model.id}
    assert entries[0]["inputs"] == entries[1]["inputs"] != entries[2]["inputs"]
    assert entries[3]["inputs"] is None
    assert entries[2]["inputs"] != hashlib.sha256(b"{}").hexdigest()


def test_without_an_entry_there_is_no_answer(model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: the answer is withheld, and the service is not ready any more."""
    with Client(model, audit_log=AuditLog(tmp_path / "audit.jsonl", model=model.id)) as client:

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(audit_log.os, "write", full)
            answer = client.diagnose(WHOLE)
        assert answer.status_code == 503
        assert "estimates" not in answer.json()
        assert client.diagnose(WHOLE).status_code == 503
        assert client.ask("GET", "/ready").status_code == 503
        assert client.ask("GET", "/health").status_code == 200


def started(folder: Path, log: Path) -> tuple["subprocess.Popen[bytes]", str]:
    """`attending serve` as a process of its own, and its address."""
    command = [sys.executable, "-c", "from attending.cli import main; main()", "serve", folder / "model", "--port", "0"]
    more = ["--audit-log", log, "--threads", "1", "--rate", "0", "--device", "cpu"]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    told = log.with_name("told.txt")
    with told.open("wb") as handle:
        process = subprocess.Popen([*command, *more], stderr=handle, env=os.environ | threads)
    while " on http://" not in told.read_text():
        assert process.poll() is None, told.read_text()
        time.sleep(0.02)
    return process, told.read_text().split(" on ")[1].split()[0]


def wait_until_ready(address: str) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            if httpx.get(f"{address}/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the service was not ready within 30 seconds")


def test_a_kill_under_load_loses_no_answer_and_the_next_start_goes_on(
    folder: Path, model: TrainedModel, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    process, address = started(folder, log)
    answered: list[str] = []
    try:
        wait_until_ready(address)

        def ask() -> None:
            with httpx.Client() as client:
                while True:
                    try:
                        answer = client.post(f"{address}/v1/diagnoses", json=WHOLE)
                    except httpx.TransportError:
                        return
                    assert answer.status_code == 200
                    answered.append(answer.json()["request"])

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        while len(answered) < 40:
            time.sleep(0.01)
        process.kill()
        for client in clients:
            client.join()
    finally:
        process.kill()
        process.wait()
    found = verify(log)
    assert found.broken is None
    with log.open("ab") as handle:  # what a kill in the middle of a write leaves, whether or not this one did
        handle.write(b'{"time":"20')
    with Client(model, audit_log=AuditLog(log, model=model.id)) as again:
        assert again.diagnose(WHOLE).status_code == 200
    said = call("audit-log", "verify", log)
    assert said.code == 0, said.err
    entries = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert set(answered) <= {entry.get("request") for entry in entries}
    assert [entry["event"] for entry in entries if "event" in entry] == ["opened", "opened", "closed"]
    (recovered,) = [entry for entry in entries if entry.get("cut_bytes")]
    assert recovered["cut_bytes"] >= 11
