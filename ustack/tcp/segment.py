"""A segment as it arrives.

The fields of RFC 9293 §3.10.7 (SEG.SEQ, SEG.ACK, SEG.LEN, SEG.WND, SEG.UP) and its options.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ustack.tcp import sequence
from ustack.wire.tcp import FIN, SYN
from ustack.wire.tcp_options import TcpOptions


@dataclass(slots=True, eq=False)
class Segment:
    """One segment with the flow it belongs to, as seen from this host."""

    local: bytes
    local_port: int
    remote: bytes
    remote_port: int
    seq: int
    ack: int
    flags: int
    window: int
    """SEG.WND: as on the wire, in bytes once the segment has arrived at its connection."""
    urgent_pointer: int
    options: TcpOptions
    payload: memoryview
    gso_size: int
    traffic_class: int
    ip_options: bytes = b""
    """IPv4 options of its packet."""
    carried: int = 0
    """Bytes of payload that it arrived with, before it was trimmed to the window."""
    timestamp_advanced: bool = False
    """Its TSval was newer than TS.Recent, and has become it."""
    header_length: int = 20
    """Bytes of the TCP header with its options."""
    raw: memoryview = field(default_factory=lambda: memoryview(b""))
    """Header and payload as they came: what signatures are over."""
    previous_nxt: int | None = None
    """SND.NXT of the connection in TIME-WAIT whose place this SYN takes."""

    @property
    def length(self) -> int:
        """SEG.LEN: payload, SYN and FIN all count."""
        return len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)

    @property
    def count(self) -> int:
        """Segments on the wire: a super-segment is several."""
        return -(-len(self.payload) // self.gso_size) if 0 < self.gso_size < len(self.payload) else 1

    @property
    def codepoint(self) -> int:
        """The ECN codepoint of its IP header.  RFC 3168 §5."""
        return self.traffic_class & 3

    @property
    def packets(self) -> int:
        """How many packets the device has joined to it."""
        return -(-self.carried // self.gso_size) if self.gso_size else 1

    @property
    def end(self) -> int:
        """The sequence number after the segment."""
        return sequence.add(self.seq, self.length)
