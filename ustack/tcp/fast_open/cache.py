"""What a Fast Open client remembers of servers, by address: cookie and MSS.  RFC 7413 §4.1.3.1."""

from __future__ import annotations

from dataclasses import dataclass

ENTRIES_MAX = 4096
"""The oldest entry makes room for a new one."""


@dataclass(slots=True)
class CacheEntry:
    """One server as seen from one local address."""

    mss: int = 0
    """The MSS option of its last SYN,ACK; 0 for unknown."""
    cookie: bytes = b""
    experimental: bool = False
    """The cookie came, and goes, in the experimental option."""
    tried_experimental: int = 0
    """1: the server did not answer the standard option, so the experimental one is tried once; 2: nor that one."""


class CookieCache:
    """The servers that one stack knows."""

    def __init__(self) -> None:
        self._entries: dict[tuple[bytes, bytes], CacheEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, local: bytes, remote: bytes) -> CacheEntry | None:
        """What is known of a server."""
        return self._entries.get((local, remote))

    def entry(self, local: bytes, remote: bytes) -> CacheEntry:
        """The entry of a server, made if there is none."""
        found = self._entries.get((local, remote))
        if found is None:
            if len(self._entries) >= ENTRIES_MAX:
                del self._entries[next(iter(self._entries))]
            found = self._entries[local, remote] = CacheEntry()
        return found

    def flush(self) -> None:
        """Forget every server."""
        self._entries.clear()

    def learn(
        self, local: bytes, remote: bytes, mss: int, cookie: bytes, *, experimental: bool, try_experimental: int
    ) -> None:
        """Take what a SYN,ACK has told; without a cookie, `try_experimental` says which option to ask with next."""
        entry = self.entry(local, remote)
        entry.mss = mss or entry.mss
        if cookie:
            entry.cookie, entry.experimental = cookie, experimental
        elif try_experimental > entry.tried_experimental and not entry.cookie:
            entry.tried_experimental = try_experimental
