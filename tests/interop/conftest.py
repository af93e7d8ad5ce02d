"""A stack on a TUN device of its own namespace, with and without offload; and a gigabyte to send through it."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.network import IPV4, IPV6, Network
from ustack import use
from ustack.link.namespace import Namespace
from ustack.runtime.current import new_driver

GIGABYTE = 1 << 30
CHUNK = 1 << 24


def namespaces_are_there() -> bool:
    """Whether this machine lets us have a namespace with a TUN device."""
    try:
        with Namespace() as namespace:
            namespace.open_tun().close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def tun_access() -> None:
    """Skips where no TUN device can be had: these tests are about the real kernel."""
    if not namespaces_are_there():
        pytest.skip("no TUN device in a namespace of our own: needs /dev/net/tun, and root or user namespaces")


@pytest.fixture(params=[True, False], ids=["offload", "plain"])
def network(request: pytest.FixtureRequest, tun_access: None) -> Iterator[Network]:
    """A running stack at 10.9.0.2 and fd09::2; the kernel's side is 10.9.0.1 and fd09::1."""
    with Namespace() as namespace:
        driver = new_driver()
        driver.attach(namespace.open_tun(offload=request.param), (f"{IPV4}/24", f"{IPV6}/64"))
        with driver, use(driver):
            yield Network(namespace, driver)


@pytest.fixture(scope="session")
def gigabyte(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of 1 GB that does not repeat, and its SHA-256; made once for all worker processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path, digest_path = folder / "gigabyte", folder / "gigabyte.sha256"
    if not digest_path.exists():
        own = path.with_suffix(f".{os.getpid()}")
        digest = write_file(own)
        own.rename(path)
        own_digest = digest_path.with_suffix(f".{os.getpid()}")
        own_digest.write_text(digest)
        own_digest.rename(digest_path)
    return path, digest_path.read_text()


def write_file(path: Path) -> str:
    """Write a gigabyte of different blocks; its SHA-256."""
    block = bytearray(random.Random(1).randbytes(CHUNK))
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(GIGABYTE // CHUNK):
            for offset in range(0, CHUNK, 4096):
                block[offset : offset + 4] = (number * CHUNK + offset).to_bytes(4, "big")
            digest.update(block)
            file.write(block)
    return digest.hexdigest()
