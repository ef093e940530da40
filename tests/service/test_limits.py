"""What is bounded: bodies whatever they say of their length, headers, time, requests a second; and who is at the door."""

import asyncio
import json
import socket
import time
from dataclasses import replace
from ipaddress import ip_address

import httpx
import pytest

from attending.model.trained import TrainedModel
from attending.service.rates import BURST_SECONDS, MOST_CLIENTS, Rates
from attending.service.server import bound
from attending.service.settings import Settings
from tests.service.asking import FREELY, WHOLE, Client, listening

POST = b"POST /v1/diagnoses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
GET = b"GET /v1/model HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
SMALL = replace(FREELY, most_body_bytes=2048, read_seconds=0.5, header_seconds=0.5)


def said_to(address: str, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Everything that a server answers to these bytes until it hangs up, or for three seconds."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=3) as made:
        found = b""
        try:
            for piece in pieces:
                made.sendall(piece)
                time.sleep(pause)
            while more := made.recv(65_536):
                found += more
        except (TimeoutError, ConnectionError):
            pass
        return found


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def test_bodies_and_headers_are_bounded_while_they_come(model: TrainedModel) -> None:
    with listening(model, settings=SMALL) as address:
        many = b"".join(b"X-%d: y\r\n" % number for number in range(10_000))
        chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
        told = {
            "says too much": said_to(address, POST + b"Content-Length: 99999999\r\n\r\n"),
            "says more than can be": said_to(address, POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n"),
            "says nothing and sends too much": said_to(address, POST + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 4),
            "says more than comes": said_to(address, POST + b"Content-Length: 1000\r\n\r\n{}"),
            "says less than comes": said_to(address, POST + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}" + b" " * 9000),
            "two lengths": said_to(address, POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"),
            "length below nothing": said_to(address, POST + b"Content-Length: -2\r\n\r\n{}"),
            "10,000 headers": said_to(address, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + many + b"\r\n"),
            "100 headers": said_to(address, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"A: b\r\n" * 100 + b"\r\n"),
            "headers that never end": said_to(address, b"GET /health HTTP/1.1\r\nHost: 127"),
            "nothing": said_to(address),
            "no HTTP": said_to(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
            "another host": said_to(address, b"GET /v1/model HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
            "a page of another site": said_to(address, GET + b"Origin: https://evil.example\r\n\r\n"),
            "a page of ours": said_to(address, GET + b"Origin: http://localhost:8000\r\n\r\n"),
            "next, slowly": said_to(address, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET", pause=0.1),
        }
        # whoever reads them first refuses: the parser when they come in pieces, the guard when at once
        assert status_of(told.pop("10,000 headers")) in (400, 431)
        assert {name: status_of(answer) for name, answer in told.items()} == {
            "says too much": 413,
            "says more than can be": 400,
            "says nothing and sends too much": 413,
            "says more than comes": 408,
            "says less than comes": 200,
            "two lengths": 400,
            "length below nothing": 400,
            "100 headers": 431,
            "headers that never end": 0,
            "nothing": 0,
            "no HTTP": 400,
            "another host": 421,
            "a page of another site": 403,
            "a page of ours": 200,
            "next, slowly": 200,
        }
        assert httpx.get(f"{address}/ready").status_code == 200


def test_everybody_may_ask_so_often(model: TrainedModel) -> None:
    with Client(model, settings=replace(FREELY, rate=2)) as client:
        answers = [client.ask("GET", "/v1/model") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert client.ask("GET", "/health").status_code == 200


def test_a_bucket_fills_at_its_rate_and_quiet_clients_are_forgotten() -> None:
    now = 0.0
    rates = Rates(10.0, clock=lambda: now)
    burst = int(10 * BURST_SECONDS)
    assert [rates.wait_of("a") for _ in range(burst + 1)] == [0] * burst + [1]
    assert rates.wait_of("b") == 0
    now = 0.1
    assert [rates.wait_of("a") for _ in range(2)] == [0, 1]
    for number in range(MOST_CLIENTS):
        rates.wait_of(str(number))
    assert len(rates._buckets) == MOST_CLIENTS
    assert all(rates.wait_of("a") == 0 for _ in range(burst))
    assert {Rates(0.0).wait_of("a") for _ in range(100)} == {0}


def test_an_answer_that_takes_too_long_is_none(model: TrainedModel) -> None:
    with Client(model, settings=replace(FREELY, answer_seconds=1e-4)) as client:
        answer = client.diagnose(WHOLE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert client.ask("GET", "/ready").status_code in (200, 503)


def test_what_is_held_at_once_is_bounded(model: TrainedModel) -> None:
    """Eight of the largest bodies fit; the ninth is told to come back, and all is let go of."""
    settings = Settings(rate=0, most_body_bytes=1024)
    with Client(model, settings=settings) as client:
        asked = []

        async def one(number: int) -> None:
            async def body():  # type: ignore[no-untyped-def]
                yield b"{" + b" " * 1000
                await asyncio.sleep(0.2)
                yield b"}"

            headers = {"content-type": "application/json"}
            asked.append((await client._client.post("/v1/diagnoses", content=body(), headers=headers)).status_code)

        async def all_of_them() -> None:
            await asyncio.gather(*(one(number) for number in range(9)))

        client._loop.run_until_complete(all_of_them())
        assert sorted(asked) == [200] * 8 + [503]
        assert client.app._held == 0


@pytest.mark.parametrize(
    ("port", "rate", "body"), [(-1, 1, 4096), (70_000, 1, 4096), (1, -1, 4096), (1, float("nan"), 4096), (1, 1, 3)]
)
def test_settings_that_make_no_sense_are_refused(port: int, rate: float, body: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        Settings(port=port, rate=rate, most_body_bytes=body)


def test_paths_and_methods_that_are_none_are_told_so(model: TrainedModel) -> None:
    with Client(model) as client:
        assert client.ask("GET", "/v2/model").status_code == 404
        assert client.ask("GET", "/v1/model/?a=b").status_code == 404
        assert client.ask("DELETE", "/v1/model").status_code == 405
        assert client.ask("GET", "/v1/diagnoses").headers["allow"] == "POST"
        assert client.ask("GET", "/../../etc/passwd").status_code == 404
        assert json.loads(client.ask("FROB", "/health").content)["status"] == 405
        assert client.ask("HEAD", "/nowhere").content == b""


def test_loopback_is_where_these_addresses_lead() -> None:
    from attending.service.credentials import is_loopback

    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST")))
    assert not any(
        map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "", "example.org", "localhost.example.org", "127.0.0.1.nip.io"))
    )
    assert ip_address("127.9.9.9").is_loopback


def test_nothing_is_held_back_until_the_head_of_an_answer_is_acknowledged() -> None:
    """Without the protocol's name asyncio leaves Nagle's delay on, and every answer takes 40 ms more."""
    with bound(Settings(port=0)) as listening:
        assert listening.proto == socket.IPPROTO_TCP
