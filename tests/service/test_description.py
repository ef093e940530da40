"""The OpenAPI description is true: whatever is generated from it is answered with a status, type and shape that it names."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from attending.model.trained import TrainedModel
from tests.service.asking import listening

HELD = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
ROUTES = (
    ("/v1/diagnoses", "POST"),
    ("/v1/diagnoses/upload", "POST"),
    ("/v1/model", "GET"),
    ("/health", "GET"),
    ("/ready", "GET"),
    ("/metrics", "GET"),
)


@pytest.fixture(scope="module")
def address(model: TrainedModel) -> Iterator[str]:
    with listening(model) as made:
        yield made


@pytest.fixture(scope="module")
def described(address: str) -> Any:
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


def hold(described: Any, address: str, route: tuple[str, str], *, mode: GenerationMode, examples: int) -> set[int]:
    """Ask what is generated for a route and check every answer. Gives the statuses."""
    path, method = route
    statuses = set()
    checks = [check for check in CHECKS.get_all() if check.__name__ in HELD]
    assert len(checks) == len(HELD)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(case=described[path][method].as_strategy(generation_mode=mode))
    def asked(case: Any) -> None:
        answer = case.call(base_url=address)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=checks)

    asked()
    return statuses


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route[0])
def test_what_fits_the_description_is_answered_as_it_says(described: Any, address: str, route: tuple[str, str]) -> None:
    statuses = hold(described, address, route, mode=GenerationMode.POSITIVE, examples=15)
    assert 200 in statuses
    assert max(statuses) < 500


@pytest.mark.parametrize("route", ROUTES[:2], ids=lambda route: route[0])
def test_what_does_not_fit_is_refused_as_it_says(described: Any, address: str, route: tuple[str, str]) -> None:
    statuses = hold(described, address, route, mode=GenerationMode.NEGATIVE, examples=25)
    assert statuses <= {200, 400, 408, 413, 415, 422, 431}
    assert statuses & {400, 415, 422}


@pytest.mark.long
@pytest.mark.parametrize("mode", tuple(GenerationMode))
@pytest.mark.parametrize("route", ROUTES[:2], ids=lambda route: route[0])
def test_the_description_at_length(described: Any, address: str, route: tuple[str, str], mode: GenerationMode) -> None:
    assert max(hold(described, address, route, mode=mode, examples=2_500)) < 500
