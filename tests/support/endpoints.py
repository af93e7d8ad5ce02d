"""Endpoints that are nothing but their options, for tests of the port table."""

from __future__ import annotations

from typing import Any

from ustack.constants import AF_INET, SOCK_STREAM
from ustack.endpoint import Endpoint


def bare_endpoint(family: int = AF_INET, **options: Any) -> Endpoint:
    """An endpoint with these options set."""
    endpoint = Endpoint(family, SOCK_STREAM, 0)
    for name, value in options.items():
        setattr(endpoint.options, name, value)
    return endpoint
