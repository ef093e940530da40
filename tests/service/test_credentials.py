"""Who may ask: tokens of which only hashes are kept, on every route that the description lists; no door open to a network."""

import json
from pathlib import Path

import pytest

from attending.model.trained import TrainedModel
from attending.service.credentials import CredentialError, new_token, read_tokens
from attending.service.guard import OPEN
from tests.command_line import call
from tests.service.asking import Client


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "tokens.txt"


def test_every_route_of_the_description_turns_away_wrong_tokens(model: TrainedModel, tokens: Path) -> None:
    token = new_token(tokens, "ward-7")
    with Client(model, credentials=read_tokens(tokens)) as client:
        right = {"authorization": f"Bearer {token}"}
        described = client.ask("GET", "/openapi.json", headers=right).json()
        routes = [(method, path) for path, methods in described["paths"].items() for method in methods]
        routes += [
            ("get", "/openapi.json"),
            ("get", "/nowhere"),
            ("get", "/v1/model/"),
            ("get", "//v1/model"),
            ("get", "/health/"),
        ]
        hashed = tokens.read_text().split()[1]
        wrong: list[dict[str, str]] = [
            {},
            {"authorization": ""},
            {"authorization": "Bearer"},
            {"authorization": "Bearer "},
            {"authorization": f"Bearer {token}x"},
            {"authorization": f"Bearer {token[:-1]}"},
            {"authorization": f"Bearer {token.upper()}"},
            {"authorization": f"Bearer {hashed}"},
            {"authorization": f"Basic {token}"},
            {"authorization": token},
            {"authorization": "Bearer \xe4\xf6"},
            {"x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1"},
            {"cookie": f"token={token}"},
        ]
        for method, path in routes:
            if path in OPEN:
                assert client.ask(method, path).status_code == 200
                continue
            for headers in wrong:
                answer = client.ask(method, path, headers={name: value.encode("latin-1") for name, value in headers.items()})
                assert answer.status_code == 401, (method, path, headers)
                assert answer.headers["www-authenticate"] == "Bearer"
            assert client.ask(method, f"{path}?token={token}&access_token={token}").status_code == 401
            assert client.ask(method, path, headers=right).status_code != 401
        twice = [("authorization", f"Bearer {token}"), ("authorization", "Bearer other")]
        assert client.ask("GET", "/v1/model", headers=twice).status_code == 401
        operations = [operation for methods in described["paths"].values() for operation in methods.values()]
        assert all("security" in operation for operation in operations)


def test_the_file_holds_no_token_and_only_its_owner_reads_it(tokens: Path) -> None:
    token = new_token(tokens, "a")
    other = new_token(tokens, "b.2-c_d")
    assert tokens.stat().st_mode & 0o777 == 0o600
    text = tokens.read_text()
    assert token not in text
    assert len(token) > 40
    known = read_tokens(tokens)
    assert known.holder(f"Bearer {token}") == "a"
    assert known.holder(f"bearer  {other} ") == "b.2-c_d"
    assert known.holder(None) is None
    assert token not in repr(known)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no token"),
        ("# nothing\n\n", "holds no token"),
        ("att_9f8a7s6d5f\n", "line 1 is not NAME and SHA-256"),
        ("ward att_9f8a7s6d5f\n", "line 1 is not NAME and SHA-256"),
        ("ward " + "a" * 64 + "\nward " + "b" * 64, "line 2 repeats"),
        ("ward " + "a" * 64 + "\nother " + "a" * 64, "line 2 repeats"),
    ],
)
def test_a_file_that_is_none_is_refused_without_quoting_it(tokens: Path, text: str, says: str) -> None:
    tokens.write_text(text)
    tokens.chmod(0o600)
    with pytest.raises(CredentialError, match=says) as refused:
        read_tokens(tokens)
    assert "9f8a7s6d5f" not in str(refused.value)


def test_a_file_that_others_may_write_is_refused(tokens: Path) -> None:
    new_token(tokens, "a")
    tokens.chmod(0o622)
    with pytest.raises(CredentialError, match="others may write to it; chmod 600"):
        read_tokens(tokens)


def test_names_are_taken_once_and_say_nothing_odd(tokens: Path) -> None:
    new_token(tokens, "a")
    with pytest.raises(CredentialError, match="a has a token already"):
        new_token(tokens, "a")
    for name in ("", "a b", "a\nb", "-a", "x" * 65, "ä"):
        with pytest.raises(CredentialError, match="up to 64 letters"):
            new_token(tokens, name)


def test_without_tokens_only_this_machine_is_listened_to(folder: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.4", "example.org"):
        said = call("serve", folder / "model", "--host", host)
        assert said.code == 2
        assert said.sentence.startswith(
            f"attending: --host {host}: without --token-file the service listens on a loopback address"
        )
        assert len(said.err.strip().splitlines()) == 1


def test_serve_refuses_in_one_sentence_before_it_listens(folder: Path, tmp_path: Path) -> None:
    for more, says in (
        (("--token-file", tmp_path / "none"), "no such file; attending token NAME"),
        (("--port", "70000"), "--port 70000: expected"),
        (("--rate", "-1"), "--rate -1: expected"),
        (("--max-body", "3"), "--max-body 3: expected"),
        (("--device", "tpu"), 'expected "auto", "cpu" or "cuda"'),
    ):
        said = call("serve", folder / "model", *more)
        assert said.code == 2
        assert says in said.sentence
        assert len(said.err.strip().splitlines()) == 1
    said = call("serve", tmp_path / "nowhere")
    assert (said.code, "no such folder" in said.sentence) == (2, True)


def test_the_command_prints_a_token_once(tokens: Path) -> None:
    said = call("token", "ward-7", "--token-file", tokens)
    assert said.code == 0
    assert read_tokens(tokens).holder(f"Bearer {said.out.strip()}") == "ward-7"
    again = call("token", "ward-7", "--token-file", tokens)
    assert (again.code, "has a token already" in again.sentence) == (2, True)


def test_the_log_names_the_holder_and_not_the_token(model: TrainedModel, tokens: Path, tmp_path: Path) -> None:
    from attending.service.audit_log import AuditLog

    token = new_token(tokens, "ward-7")
    path = tmp_path / "audit.jsonl"
    with Client(model, credentials=read_tokens(tokens), audit_log=AuditLog(path, model=model.id)) as client:
        client.ask("GET", "/v1/model", headers={"authorization": f"Bearer {token}"})
        client.ask("GET", "/v1/model", headers={"authorization": "Bearer wrong"})
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(entry.get("client"), entry.get("status")) for entry in entries[1:3]] == [("ward-7", 200), (None, 401)]
    assert token not in path.read_text()
