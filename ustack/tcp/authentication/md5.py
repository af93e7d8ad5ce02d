"""The MD5 signature option.  RFC 2385; obsolete since RFC 5925, and still what many routers speak.

The digest is over the pseudo-header, the TCP header without options and with checksum zero, the data, and the key.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from ustack.drops import Drop, DropReason
from ustack.tcp.authentication.covered import HEADER_BYTES, pseudo_header, without_checksum
from ustack.wire.tcp_options import build_md5

if TYPE_CHECKING:
    from ustack.tcp.authentication.keys import KeyRing
    from ustack.tcp.segment import Segment

DIGEST_BYTES = 16
_OPTION = build_md5(bytes(DIGEST_BYTES))


class Md5Guard:
    """One key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def option(self) -> bytes:
        """As `Guard`."""
        return _OPTION

    def allows_timestamps(self) -> bool:
        """As `Guard`: with MSS, window scale and SACK they would fill the header, as Linux sees it."""
        return False

    def can_sign_alone(self) -> bool:
        """As `Guard`."""
        return True

    def choose(self, ring: KeyRing) -> None:
        """As `Guard`: the key of an open connection stays."""

    def sign(self, tcb: Any, source: bytes, destination: bytes, transport: memoryview) -> None:
        """As `Guard`."""
        place = HEADER_BYTES + len(_OPTION) - DIGEST_BYTES
        transport[place : place + DIGEST_BYTES] = self._digest(source, destination, transport)

    def verify(self, tcb: Any, segment: Segment) -> None:
        """As `Guard`."""
        if segment.options.md5 is None:
            raise Drop(DropReason.TCP_SIGNATURE_MISSING)
        expected = self._digest(segment.remote, segment.local, segment.raw)
        if not hmac.compare_digest(expected, segment.options.md5):
            raise Drop(DropReason.TCP_SIGNATURE_WRONG)

    def _digest(self, source: bytes, destination: bytes, transport: memoryview) -> bytes:
        digest = hashlib.md5(pseudo_header(source, destination, len(transport)), usedforsecurity=False)
        digest.update(without_checksum(transport[:HEADER_BYTES]))
        digest.update(transport[transport[12] >> 4 << 2 :])
        digest.update(self._key)
        return digest.digest()
