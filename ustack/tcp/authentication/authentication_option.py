"""The TCP Authentication Option.  RFC 5925.

Each direction of a connection has a traffic key, derived from a master key and the connection's identity: both
addresses, both ports, both initial sequence numbers (§5.2).  A MAC over 64 bits of sequence number, of which the header
has 32, keeps segments of an earlier round of the sequence space out (§6.2).  Each end names in every segment the key
that it would like the other one to use (§6.1), so that keys are changed while data flow.
"""

from __future__ import annotations

import hmac
import struct
from typing import TYPE_CHECKING, Any

from ustack.drops import Drop, DropReason
from ustack.tcp import sequence
from ustack.tcp.authentication.covered import HEADER_BYTES, pseudo_header, without_checksum
from ustack.wire.tcp import ACK, SYN
from ustack.wire.tcp_options import AUTHENTICATION, pad_with_no_operations

if TYPE_CHECKING:
    from ustack.tcp.authentication.keys import KeyRing, MasterKey
    from ustack.tcp.segment import Segment

_CONTEXT = struct.Struct(">HHII")
_FIXED = 4
"""Kind, length, KeyID, RNextKeyID."""


class Extension:
    """The upper 32 bits of a sequence number, by the largest one seen.  RFC 5925 §6.2."""

    def __init__(self, start: int) -> None:
        self._reached = start

    def of(self, seq: int) -> int:
        """SNE for `seq`, which is less than 2^31 away from what was seen last."""
        return max(self._extend(seq), 0) >> 32

    def reach(self, seq: int) -> None:
        """`seq` is genuine."""
        self._reached = max(self._reached, self._extend(seq))

    def _extend(self, seq: int) -> int:
        ahead = sequence.distance(self._reached & sequence.MASK, seq)
        return self._reached + (ahead if ahead < 1 << 31 else ahead - sequence.MODULUS)


class OptionGuard:
    """One connection's keys."""

    def __init__(self, ring: KeyRing, remote: bytes) -> None:
        self._ring, self._remote = ring, remote
        first = ring.masters_for(remote)[0]
        self.current = self._by_send_id(ring.current) or first
        """The key that we send with: current_key."""
        self.wanted = self._by_receive_id(ring.wanted) or self.current
        """The key that we would like to receive with: rnext_key."""
        self._traffic_keys: dict[tuple[MasterKey, bytes], bytes] = {}
        self._sent: Extension | None = None
        self._received: Extension | None = None

    def _by_send_id(self, number: int | None) -> MasterKey | None:
        masters = self._ring.masters_for(self._remote)
        return next((each for each in masters if each.send_id == number), None)

    def _by_receive_id(self, number: int | None) -> MasterKey | None:
        masters = self._ring.masters_for(self._remote)
        return next((each for each in masters if each.receive_id == number), None)

    def choose(self, ring: KeyRing) -> None:
        """As `Guard`: what is chosen on the ring is used from now on, until the peer asks for another."""
        self._ring = ring
        self.current = self._by_send_id(self._ring.current) or self.current
        self.wanted = self._by_receive_id(self._ring.wanted) or self.wanted
        ring.current = ring.wanted = None

    def option(self) -> bytes:
        """As `Guard`."""
        mac_bytes = self.current.mac_bytes
        fixed = bytes((AUTHENTICATION, _FIXED + mac_bytes, self.current.send_id, self.wanted.receive_id))
        return pad_with_no_operations(fixed + bytes(mac_bytes))

    def allows_timestamps(self) -> bool:
        """As `Guard`."""
        return True

    def can_sign_alone(self) -> bool:
        """As `Guard`: the keys depend on both initial sequence numbers."""
        return False

    def sign(self, tcb: Any, source: bytes, destination: bytes, transport: memoryview) -> None:
        """As `Guard`."""
        seq = int.from_bytes(transport[4:8], "big")
        flags = transport[13]
        remote_isn = 0 if flags & (SYN | ACK) == SYN else tcb.irs
        context = source + destination + _CONTEXT.pack(tcb.local_port, tcb.remote_port, tcb.iss, remote_isn)
        self._sent = self._sent or Extension(tcb.iss)
        extension = self._sent.of(seq)
        self._sent.reach(seq)
        mac = self._mac(self.current, context, extension, (source, destination), transport)
        place = HEADER_BYTES + _FIXED
        transport[place : place + len(mac)] = mac

    def verify(self, tcb: Any, segment: Segment) -> None:
        """As `Guard`; follows the peer's wish for another key.  RFC 5925 §7.5."""
        data = segment.options.authentication
        if data is None:
            raise Drop(DropReason.TCP_SIGNATURE_MISSING)
        key_id, next_id, given = data[0], data[1], data[2:]
        master = self._by_receive_id(key_id)
        if master is None or len(given) != master.mac_bytes:
            raise Drop(DropReason.TCP_SIGNATURE_WRONG, f"KeyID {key_id}")
        received = self._received or Extension(segment.seq)
        path = segment.remote, segment.local
        expected = self._mac(master, _context(tcb, segment), received.of(segment.seq), path, segment.raw)
        if not hmac.compare_digest(expected, given):
            raise Drop(DropReason.TCP_SIGNATURE_WRONG)
        received.reach(segment.seq)
        self._received = received
        self._follow(next_id)

    def _follow(self, next_id: int) -> None:
        """Send with the key that the peer asks for, if we have it."""
        if next_id != self.current.send_id:
            self.current = self._by_send_id(next_id) or self.current

    def _mac(
        self, master: MasterKey, context: bytes, extension: int, path: tuple[bytes, bytes], transport: memoryview
    ) -> bytes:
        key = self._traffic_keys.get((master, context))
        if key is None:
            key = self._traffic_keys[master, context] = master.algorithm.traffic_key(master.key, context)
        covered = extension.to_bytes(4, "big") + pseudo_header(*path, len(transport))
        header_bytes = transport[12] >> 4 << 2
        header = without_checksum(transport[:header_bytes])
        covered += _covered_header(master, header) + bytes(transport[header_bytes:])
        return master.algorithm.mac(key, covered)[: master.mac_bytes]


def _covered_header(master: MasterKey, header: bytes) -> bytes:
    """The header with a MAC of zero; without the other options where they are not covered.  RFC 5925 §5.1."""
    start = _find_option(header)
    option = header[start : start + _FIXED] + bytes(master.mac_bytes)
    if not master.covers_options:
        return header[:HEADER_BYTES] + option
    return header[:start] + option + header[start + len(option) :]


def _find_option(header: bytes) -> int:
    """Where the option begins: it is there, and the options are well formed."""
    place = HEADER_BYTES
    while header[place] != AUTHENTICATION:
        place += 1 if header[place] <= 1 else header[place + 1]
    return place


def _context(tcb: Any, segment: Segment) -> bytes:
    """The identity of the direction in which a segment has come.  RFC 5925 §5.2."""
    is_first = segment.flags & (SYN | ACK) == SYN
    remote_isn = segment.seq if segment.flags & SYN or tcb is None else tcb.irs
    local_isn = 0 if is_first or tcb is None else tcb.iss
    ports_and_isns = _CONTEXT.pack(segment.remote_port, segment.local_port, remote_isn, local_isn)
    return segment.remote + segment.local + ports_and_isns
