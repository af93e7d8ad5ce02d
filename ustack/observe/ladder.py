"""Ladder diagrams: the packets between two hosts as arrows between two columns, with what became of each.

    10.9.0.1                                                  10.9.0.2
      0.000 ms  40112 ─ SYN ────────────────────────────────────▶ 80
                      wildcard wins: the only candidate
      0.112 ms  40112 ◀──────────────────────────── SYN ACK ack 1 ─ 80

Nothing here knows of terminals: a ladder is lines of text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ustack.address import format_address
from ustack.trace import Verdict
from ustack.wire import tcp, udp
from ustack.wire.dissect import Layer, Ports, dissect
from ustack.wire.ipv4 import Ipv4Header
from ustack.wire.ipv6 import Ipv6Header
from ustack.wire.pretty import pretty
from ustack.wire.tcp import TcpHeader
from ustack.wire.udp import UdpHeader

MILLISECOND = 1_000_000
MODULUS = 1 << 32
FLAG_NAMES = {
    tcp.SYN: "SYN",
    tcp.FIN: "FIN",
    tcp.RST: "RST",
    tcp.PSH: "PSH",
    tcp.URG: "URG",
    tcp.ACK: "ACK",
}
WIDTH = 100
TIME_WIDTH = 12
PORT_WIDTH = 6


@dataclass(slots=True)
class Rung:
    """One packet of a ladder."""

    verdict: Verdict
    label: str
    """What the packet is, in a few words; sequence numbers are relative to the first that was seen."""
    source_port: int | None
    destination_port: int | None

    @property
    def why(self) -> str:
        """What became of it: the reason of a drop, or the last word of the explanation."""
        drop = self.verdict.drop
        if drop is not None:
            return f"dropped, {drop.name}: {drop.what} ({drop.clause})"
        return self.verdict.comment.rpartition("; ")[2]


@dataclass(slots=True)
class Ladder:
    """The packets between this host and one other."""

    remote: bytes
    local: bytes
    rungs: list[Rung] = field(default_factory=list)

    def lines(self, width: int = WIDTH) -> list[str]:
        """The diagram: a line of names, then one or two lines a packet; the other host stands at the left.

        What became of a packet is told where it differs from what became of the one before it on the same ports.
        """
        left, right = format_address(self.remote), format_address(self.local)
        begin = self.rungs[0].verdict.now if self.rungs else 0
        lines = [" " * (TIME_WIDTH + 1) + left + right.rjust(width - TIME_WIDTH - 1 - len(left))]
        told: dict[tuple[int | None, int | None], str] = {}
        for rung in self.rungs:
            lines.append(_arrow_line(rung, begin, width))
            flow = (rung.source_port, rung.destination_port)
            if rung.why and rung.why != told.get(flow):
                lines.append(" " * (TIME_WIDTH + PORT_WIDTH + 2) + rung.why)
                told[flow] = rung.why
        return lines


def ladders(verdicts: Iterable[Verdict]) -> list[Ladder]:
    """One ladder for each pair of hosts, in the order of their first packets; what is not IP is left out."""
    found: dict[tuple[bytes, bytes], Ladder] = {}
    numbers = RelativeNumbers()
    for verdict in verdicts:
        layers = dissect(verdict.packet)
        ip = layers[0].header
        if not isinstance(ip, Ipv4Header | Ipv6Header):
            continue
        remote, local = (ip.destination, ip.source) if verdict.outbound else (ip.source, ip.destination)
        ladder = found.setdefault((remote, local), Ladder(remote, local))
        ladder.rungs.append(_rung(verdict, ip, layers, numbers))
    return list(found.values())


class RelativeNumbers:
    """Sequence numbers counted from the first of their flow and direction, as people read them."""

    def __init__(self) -> None:
        self._first: dict[tuple[bytes, int, bytes, int], int] = {}

    def words(self, ip: Ipv4Header | Ipv6Header, header: TcpHeader, length: int) -> str:
        """A segment: its flags, what data it carries, what it acknowledges."""
        forward = (ip.source, header.source_port, ip.destination, header.destination_port)
        backward = (ip.destination, header.destination_port, ip.source, header.source_port)
        if header.flags & tcp.SYN:
            self._first[forward] = header.seq
        first = self._first.setdefault(forward, header.seq)
        words = [name for bit, name in FLAG_NAMES.items() if header.flags & bit]
        if length:
            seq = (header.seq - first) % MODULUS
            words.append(f"seq {seq}:{seq + length}")
        if header.flags & tcp.ACK:
            words.append(f"ack {(header.ack - self._first.setdefault(backward, header.ack)) % MODULUS}")
        return " ".join(words)


def _rung(verdict: Verdict, ip: Ipv4Header | Ipv6Header, layers: list[Layer], numbers: RelativeNumbers) -> Rung:
    for header in (layer.header for layer in layers):
        if isinstance(header, TcpHeader):
            label = numbers.words(ip, header, len(layers[-1].data) if layers[-1].name == "Data" else 0)
        elif isinstance(header, UdpHeader):
            label = f"UDP, {max(header.length - udp.HEADER_LENGTH, 0)} bytes"
        elif isinstance(header, Ports):
            label = _words(verdict.packet)
        else:
            continue
        return Rung(verdict, label, header.source_port, header.destination_port)
    return Rung(verdict, _words(verdict.packet), None, None)


def _words(packet: bytes) -> str:
    """What `pretty` says of a packet, without its addresses and without the packet that it is about."""
    return pretty(packet).partition(": ")[2].partition(", about")[0]


def _arrow_line(rung: Rung, begin: int, width: int) -> str:
    verdict = rung.verdict
    left, right = rung.source_port, rung.destination_port
    if verdict.outbound:
        left, right = right, left
    time = f"{(verdict.now - begin) / MILLISECOND:.3f} ms".rjust(TIME_WIDTH)
    room = width - TIME_WIDTH - 2 * PORT_WIDTH - 3
    label = f" {rung.label[: room - 6]} "
    if verdict.outbound:
        arrow = "◀" + label.rjust(room - 2, "─") + "─"
    else:
        arrow = "─" + label.ljust(room - 2, "─") + ("✕" if verdict.drop else "▶")
    return f"{time} {_port(left).rjust(PORT_WIDTH)} {arrow} {_port(right)}".rstrip()


def _port(port: int | None) -> str:
    return "" if port is None else str(port)
