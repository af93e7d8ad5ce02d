"""The keys that a user has set on a socket, each for the peers of one prefix.

TCP_MD5SIG (RFC 2385 §4.5) keeps one key for a prefix, TCP_AO_ADD_KEY (RFC 5925 §3.1, Master Key Tuples) several, which
their SendID and RecvID tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ustack.tcp.authentication.algorithms import MAC_BYTES, Algorithm


@dataclass(frozen=True, slots=True)
class Peers:
    """The addresses that begin like this one."""

    address: bytes
    prefix: int

    def include(self, remote: bytes) -> bool:
        """Whether `remote` is one of them."""
        if len(remote) != len(self.address):
            return not self.prefix and not any(self.address)
        shift = 8 * len(remote) - self.prefix
        return int.from_bytes(remote, "big") >> shift == int.from_bytes(self.address, "big") >> shift


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A Master Key Tuple.  RFC 5925 §3.1."""

    peers: Peers
    algorithm: Algorithm
    key: bytes
    send_id: int
    receive_id: int
    covers_options: bool = True
    """The MAC is over the other options of a segment too."""
    mac_bytes: int = MAC_BYTES


@dataclass(slots=True)
class KeyRing:
    """All keys of one socket."""

    md5: dict[Peers, bytes] = field(default_factory=dict)
    masters: list[MasterKey] = field(default_factory=list)
    current: int | None = None
    """SendID of the key to begin with; None: the first."""
    wanted: int | None = None
    """RecvID that the peer is asked to send by; None: of the first."""
    required: bool = False
    """Peers without a key of ours are not spoken to."""

    def copy(self) -> KeyRing:
        """For a connection of a listener: later changes of the one are not the other's."""
        return KeyRing(dict(self.md5), list(self.masters), self.current, self.wanted, self.required)

    def md5_key(self, remote: bytes) -> bytes | None:
        """The key for a peer, of the longest prefix."""
        found = [peers for peers in self.md5 if peers.include(remote)]
        return self.md5[max(found, key=lambda peers: peers.prefix)] if found else None

    def masters_for(self, remote: bytes) -> list[MasterKey]:
        """The Master Key Tuples for a peer."""
        return [master for master in self.masters if master.peers.include(remote)]
