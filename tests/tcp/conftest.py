"""Every test of TCP runs over IPv4 and over IPv6."""

from __future__ import annotations

import pytest

from ustack.sim.peer import Peer


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def version(request: pytest.FixtureRequest) -> int:
    """The IP version of the test."""
    number: int = request.param
    return number


@pytest.fixture
def peer(version: int) -> Peer:
    """The scripted peer of a stack without any connection."""
    return Peer(version)
