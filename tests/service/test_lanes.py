"""Who waits for whom: a large picture is decoded apart, so that other cases are read meanwhile; limits hold for both."""

import asyncio
import base64
import io
import json
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attending.model.trained import TrainedModel
from attending.records.images import pixels_told
from attending.service.desk import LARGE_PIXELS, Desk
from attending.service.messages import AnswerOut
from attending.service.problem import Problem
from attending.service.reading import message_of, pixels_sent

LARGE, SMALL, BOMB = 1100, 32, 4097


def film(side: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((side, side), dtype=np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def body_of(*films: bytes, **more: Any) -> bytes:
    images = [{"field": "film", "data": base64.b64encode(each).decode()} for each in films]
    return json.dumps({"age_years": 61, "images": images, **more}).encode()


@pytest.fixture
def desk(model: TrainedModel) -> Any:
    made = Desk(model, most_body_bytes=2**24)
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_headers_tell_pixels(kind: str) -> None:
    content = film(50, kind)
    assert pixels_told(content) == 2500
    assert pixels_told(content[: len(content) - 20]) == 2500
    assert pixels_told(b"no picture") == pixels_told(b"") == 0
    sent = message_of(body_of(content, film(10), b"no picture"))
    assert pixels_sent(sent, [("film", film(20))]) == 2500 + 100 + 400
    assert pixels_sent(message_of(json.dumps({"images": [{"field": "film", "data": "§"}]}).encode()), []) == 0


def test_a_large_film_holds_up_nobody_else(desk: Desk) -> None:
    """The thread that decodes is held, as by another large film: a case with a small one is answered all the same."""
    assert SMALL**2 < LARGE_PIXELS < LARGE**2
    held = threading.Event()
    desk._decoder.submit(held.wait)

    async def ask() -> tuple[AnswerOut, AnswerOut]:
        large = asyncio.create_task(desk.diagnose(body_of(film(LARGE)), request="a"))
        try:
            small = await asyncio.wait_for(desk.diagnose(body_of(film(SMALL)), request="b"), 60)
            assert not large.done()
        finally:
            held.set()
        return small, await large

    small, large = asyncio.run(ask())
    assert (small.request, large.request) == ("b", "a")
    assert "film" not in small.missing_fields
    assert "film" not in large.missing_fields


def test_the_answer_does_not_depend_on_where_it_was_decoded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    body = body_of(film(SMALL))
    here = asyncio.run(desk.diagnose(body, request="a"))
    monkeypatch.setattr("attending.service.desk.LARGE_PIXELS", 1)
    apart = asyncio.run(desk.diagnose(body, request="a"))
    assert here == apart


def test_a_bomb_is_refused_by_its_header(desk: Desk) -> None:
    with pytest.raises(Problem) as refused:
        asyncio.run(desk.diagnose(body_of(film(BOMB)), request="a"))
    assert refused.value.status == 422
    assert [fault.found for fault in refused.value.faults] == ["has more than 16777216 pixels by its header"]
