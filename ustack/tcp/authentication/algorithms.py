"""The algorithms of TCP-AO: how traffic keys are derived, and how segments are signed with them.  RFC 5926 §3."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from ustack.tcp.authentication import aes

_LABEL = b"TCP-AO"
MAC_BYTES = 12
"""Both MACs of RFC 5926 are cut to 96 bits."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A key derivation function, and the MAC of the same primitive."""

    name: str
    key_bytes: int
    """Of a traffic key."""
    prepare: Callable[[bytes], bytes]
    """What the key derivation takes a user's key for."""
    mac: Callable[[bytes, bytes], bytes]

    def traffic_key(self, master: bytes, context: bytes) -> bytes:
        """RFC 5926 §3.1.1: one block of output is enough for both."""
        length = (8 * self.key_bytes).to_bytes(2, "big")
        return self.mac(self.prepare(master), b"\x01" + _LABEL + context + length)[: self.key_bytes]


def _hmac_sha1(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, hashlib.sha1)


def _hmac_sha256(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, hashlib.sha256)


def _cmac_key(master: bytes) -> bytes:
    """A key of another length than AES wants is made one.  RFC 5926 §3.1.1.2."""
    return master if len(master) == aes.BLOCK else aes.cmac(bytes(aes.BLOCK), master)


_HMAC_SHA1 = Algorithm("hmac(sha1)", 20, bytes, _hmac_sha1)
_AES_CMAC = Algorithm("cmac(aes128)", 16, _cmac_key, aes.cmac)
ALGORITHMS = {
    "hmac(sha1)": _HMAC_SHA1,
    "cmac(aes128)": _AES_CMAC,
    "cmac(aes)": _AES_CMAC,
    "hmac(sha256)": Algorithm("hmac(sha256)", 32, bytes, _hmac_sha256),
}
"""By Linux's names; the third is for interoperation, no RFC asks for it."""
