"""Network namespaces for tests, and proof that nothing of them is left."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ustack.link.namespace import Namespace
from ustack.link.tun import TunDevice

_numbers = itertools.count()


def interfaces_here() -> list[str]:
    return sorted(os.listdir("/sys/class/net"))


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    """A network namespace that the tests of a module share."""
    before = interfaces_here()
    try:
        made = Namespace()
    except OSError as failure:
        pytest.skip(f"this user can have no network namespace: {failure}")
    name = made.name
    with made:
        yield made
    assert interfaces_here() == before
    assert name is None or not Path("/run/netns", name).exists()


OpenTun = Callable[..., TunDevice]


@pytest.fixture
def open_tun(namespace: Namespace) -> Iterator[OpenTun]:
    """Opens TUN devices in the namespace, 10.9.0.1/24 and fd09::1/64 on the kernel's side; closes them afterwards."""
    opened: list[TunDevice] = []

    def open_one(**options) -> TunDevice:
        try:
            opened.append(namespace.open_tun(f"tun{next(_numbers)}", **options))
        except PermissionError as failure:
            pytest.skip(f"this user can have no TUN device: {failure}")
        return opened[-1]

    yield open_one
    for device in opened:
        device.close()
