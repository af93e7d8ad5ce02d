"""The cookies of a Fast Open server: a keyed hash of both addresses, the same that Linux computes.  RFC 7413 §4.1.2.

SipHash-2-4 over the client's and the server's address.  Several servers behind one address that share the key take each
other's cookies, whichever of the two implementations they run.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ustack.native import lib

COOKIE_BYTES = 8
KEY_BYTES = 16
_WORDS = struct.Struct("<4I")


class Keys(NamedTuple):
    """The key that new cookies are made with, and one whose cookies are still taken while it is being replaced."""

    primary: bytes
    backup: bytes = b""

    def cookie(self, client: bytes, server: bytes) -> bytes:
        """The cookie for a client's address."""
        return _cookie(self.primary, client, server)

    def accepts(self, cookie: bytes, client: bytes, server: bytes) -> bool:
        """Whether the client has this cookie from us."""
        return any(key and cookie == _cookie(key, client, server) for key in self)


def _cookie(key: bytes, client: bytes, server: bytes) -> bytes:
    addresses = client + server
    digest: int = lib.siphash(key, addresses, len(addresses))
    return digest.to_bytes(COOKIE_BYTES, "little")


def parse_keys(text: str) -> Keys:
    """Keys as the sysctl tcp_fastopen_key has them: `a-b-c-d` or `a-b-c-d,e-f-g-h`.  Raises ValueError."""
    keys = [_parse_key(each) for each in text.split(",")]
    if len(keys) > len(Keys._fields):
        raise ValueError(f"{len(keys)} keys of Fast Open; there are a primary and a backup")
    return Keys(*keys)


def _parse_key(text: str) -> bytes:
    words = [int(word, 16) for word in text.strip().split("-")]
    if len(words) != 4 or any(not 0 <= word < 1 << 32 for word in words):
        raise ValueError(f"a key of Fast Open is four 32-bit hexadecimal numbers: {text!r}")
    return _WORDS.pack(*words)


def split_keys(value: bytes) -> Keys:
    """Keys as TCP_FASTOPEN_KEY has them: 16 bytes, or 32 with a backup."""
    assert len(value) in (KEY_BYTES, 2 * KEY_BYTES), "one or two keys"
    return Keys(value[:KEY_BYTES], value[KEY_BYTES:])
