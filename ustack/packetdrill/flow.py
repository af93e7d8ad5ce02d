"""`Flow`: the socket under test, and the translation between the script's numbers and those on the wire.

A segment with SYN has absolute sequence numbers in the script, all others are relative to the initial ones.  The
stack's initial sequence number and its timestamps are learned from what it sends.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import replace

from ustack.packetdrill.packets import MASK, Endpoints, LivePacket, iterate_options
from ustack.packetdrill.problems import Failed
from ustack.wire import tcp, tcp_options

_PAIR = struct.Struct("!II")


class FlowState(enum.Enum):
    """How far the script has brought a socket."""

    NEW = enum.auto()
    LISTENING = enum.auto()
    SYN_ARRIVED = enum.auto()
    SYN_ACK_SENT = enum.auto()
    SYN_ACK_ACKNOWLEDGED = enum.auto()
    CONNECTING = enum.auto()
    SYN_SENT = enum.auto()
    SYN_ACKNOWLEDGED = enum.auto()


class Flow:
    """One socket of the script, with or without a descriptor."""

    def __init__(self, state: FlowState, protocol: str = "tcp") -> None:
        self.state = state
        self.protocol = protocol
        self.outbound: Endpoints | None = None
        """Whom the stack's packets go to, as soon as that is known."""
        self.remote_isn = 0
        self.local_isn = 0
        self.script_local_isn = 0
        self.descriptor: int | None = None
        self.timestamps: dict[int, int] = {}
        """From the values of the script's outbound packets to those on the wire."""
        self.first_timestamp: tuple[int, int] | None = None
        """The script's and the wire's first one."""
        self.flow_label: tuple[int, int] | None = None
        self.last_inbound: LivePacket | None = None
        self.last_outbound: LivePacket | None = None

    # From the script to the wire.

    def to_wire(self, packet: LivePacket, *, scaled: bool) -> LivePacket:
        """An inbound segment as the stack must see it."""
        syn = bool(packet.flags & tcp.SYN)
        ack_offset = self.local_isn - (self.script_local_isn if syn else 0)
        options = shift_sack(packet.options, ack_offset)
        if packet.flags & tcp.ACK:
            options = self._echo(options, scaled=scaled)
        return replace(
            packet,
            seq=(packet.seq + (0 if syn else self.remote_isn)) & MASK,
            ack=(packet.ack + ack_offset) & MASK if packet.flags & tcp.ACK else packet.ack,
            options=options,
        )

    def quoted_seq(self, seq: int) -> int:
        """A sequence number in a packet of the stack that an ICMP message quotes."""
        return (seq + self.local_isn) & MASK

    def _echo(self, options: bytes, *, scaled: bool) -> bytes:
        """Timestamps whose echo is what the stack has sent."""
        for kind, data, offset in iterate_options(options):
            if kind == tcp_options.TIMESTAMPS and len(data) == _PAIR.size:
                value, echo = _PAIR.unpack(data)
                live = self._live_timestamp(echo, scaled=scaled)
                options = options[: offset + 2] + _PAIR.pack(value, live) + options[offset + 10 :]
        return options

    def _live_timestamp(self, echo: int, *, scaled: bool) -> int:
        if echo in self.timestamps:
            return self.timestamps[echo]
        if scaled and self.first_timestamp is not None:
            script, live = self.first_timestamp
            return (echo - script + live) & MASK
        raise Failed(f"unable to infer live TS ecr for script TS ecr {echo}; no matching or preceding outbound TS val")

    # From the wire to the script.

    def to_script(self, packet: LivePacket) -> LivePacket:
        """An outbound segment with the script's sequence numbers."""
        syn = bool(packet.flags & tcp.SYN)
        ack_offset = 0 if syn else -self.remote_isn
        return replace(
            packet,
            seq=(packet.seq - self.local_isn + (self.script_local_isn if syn else 0)) & MASK,
            ack=(packet.ack + ack_offset) & MASK if packet.flags & tcp.ACK else packet.ack,
            options=shift_sack(packet.options, ack_offset),
        )

    def learn_timestamp(self, script: bytes, live: bytes) -> None:
        """Note which value on the wire the script's value stands for."""
        expected, actual = find_timestamps(script), find_timestamps(live)
        if expected is None or actual is None:
            return
        self.timestamps[expected[0]] = actual[0]
        if self.first_timestamp is None:
            self.first_timestamp = expected[0], actual[0]

    def in_script_time(self, options: bytes) -> bytes:
        """Outbound options with a timestamp that counts from the script's first one."""
        found = find_timestamps(options)
        if found is None or self.first_timestamp is None:
            return options
        value, echo, offset = found
        shown = (self.first_timestamp[0] + value - self.first_timestamp[1]) & MASK
        return options[: offset + 2] + _PAIR.pack(shown, echo) + options[offset + 10 :]


def shift_sack(options: bytes, offset: int) -> bytes:
    """Options whose SACK blocks are `offset` further on."""
    if not offset & MASK:
        return options
    for kind, data, position in iterate_options(options):
        if kind == tcp_options.SACK:
            edges = struct.unpack(f"!{len(data) // 4}I", data[: len(data) // 4 * 4])
            moved = struct.pack(f"!{len(edges)}I", *((edge + offset) & MASK for edge in edges))
            options = options[: position + 2] + moved + options[position + 2 + len(moved) :]
    return options


def find_timestamps(options: bytes) -> tuple[int, int, int] | None:
    """Value, echo and offset of the last timestamps option."""
    found = None
    for kind, data, offset in iterate_options(options):
        if kind == tcp_options.TIMESTAMPS and len(data) == _PAIR.size:
            found = (*_PAIR.unpack(data), offset)
    return found
