"""A clinic without pictures and words: causes, findings and posteriors are quick, drawing is not."""

import pytest

from attending.records.clinic.expression import express, fall_ill
from attending.records.clinic.people import admit
from attending.records.clinic.streams import Streams
from attending.records.clinic.world import build_world


def _undrawn(config):
    streams, world = Streams(config.seed), build_world(config)
    people = admit(config, streams)
    diseases, site = fall_ill(config, streams, people)
    diseases, site = diseases[people.patient], site[people.patient]
    return world, diseases, express(config, world, streams, people=people, diseases=diseases, site=site)


@pytest.fixture(scope="session")
def undrawn():
    """Config → (world, diseases, facts)."""
    return _undrawn
