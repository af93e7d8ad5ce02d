"""Packets in the notation of scripts, for people: failures, traces."""

from __future__ import annotations

from ustack.packetdrill.option_grammar import ACCURATE_ECN_0, ACCURATE_ECN_1, EXPERIMENT, FAST_OPEN_MAGIC
from ustack.packetdrill.packets import LivePacket, iterate_options
from ustack.packetdrill.script import IcmpSpec, IpSpec, PacketSpec, TcpSpec, TosCheck, UdpSpec
from ustack.sim.peer import format_flags
from ustack.wire import tcp, tcp_options

_ECN = ("noecn", "ect1", "ect0", "ce")
_COUNTERS = {ACCURATE_ECN_0: ("e0b", "ceb", "e1b"), ACCURATE_ECN_1: ("e1b", "ceb", "e0b")}


def format_options(options: bytes) -> str:
    """`<mss 1460,nop,…>`, empty for no options."""
    parts = [_option(kind, data) for kind, data, _ in iterate_options(options)]
    return f"<{','.join(parts)}>" if parts else ""


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _option(kind: int, data: bytes) -> str:
    if kind == tcp_options.TIMESTAMPS and len(data) == 8:
        return f"TS val {_number(data[:4])} ecr {_number(data[4:])}"
    if kind == tcp_options.SACK:
        edges = [_number(data[index : index + 4]) for index in range(0, len(data), 4)]
        return "sack " + " ".join(f"{left}:{right}" for left, right in zip(edges[::2], edges[1::2], strict=False))
    if kind in _COUNTERS:
        counters = [_number(data[index : index + 3]) for index in range(0, len(data), 3)]
        return "ECN " + " ".join(f"{name} {value}" for name, value in zip(_COUNTERS[kind], counters, strict=False))
    if kind == EXPERIMENT and data.startswith(FAST_OPEN_MAGIC):
        return f"FOEXP {data[2:].hex()}".rstrip()
    word, numeric = _WORDS.get(kind, (f"kind-{kind}", False))
    if numeric:
        return f"{word} {_number(data)}"
    return f"{word} {data.hex()}" if data else word


_WORDS = {
    0: ("eol", False),
    1: ("nop", False),
    tcp_options.MAXIMUM_SEGMENT_SIZE: ("mss", True),
    tcp_options.WINDOW_SCALE: ("wscale", True),
    tcp_options.SACK_PERMITTED: ("sackOK", False),
    tcp_options.FAST_OPEN: ("FO", False),
    tcp_options.MD5_SIGNATURE: ("md5", False),
    tcp_options.USER_TIMEOUT: ("uto", True),
}


def _flags(flags: int) -> str:
    """The letters, and the dot of ACK last, where the grammar wants it."""
    letters = format_flags(flags)
    return letters.replace(".", "") + "." if "." in letters else letters


def format_live(packet: LivePacket) -> str:
    """A packet as it was on the wire, or translated."""
    ecn = packet.traffic_class & 3
    prefix = f"[{_ECN[ecn]}] " if ecn else ""
    size = len(packet.payload)
    if packet.kind == "udp":
        return f"{prefix}udp ({size})"
    if packet.kind == "icmp":
        return f"{prefix}icmp type_{packet.icmp_type} code_{packet.icmp_code}"
    text = f"{prefix}{_flags(packet.flags)} {packet.seq}:{(packet.seq + size) & 0xFFFFFFFF}({size})"
    if packet.flags & tcp.ACK:
        text += f" ack {packet.ack}"
    text += f" win {packet.window}"
    if packet.urgent_pointer:
        text += f" urg {packet.urgent_pointer}"
    return f"{text} {format_options(packet.options)}".rstrip()


def format_spec(spec: PacketSpec) -> str:
    """A packet as the script has it."""
    prefix = _ip(spec.ip)
    transport = spec.transport
    if isinstance(transport, UdpSpec):
        return f"{prefix}udp ({transport.length})"
    if isinstance(transport, IcmpSpec):
        return f"{prefix}icmp {transport.kind} {transport.code or ''}".rstrip()
    return prefix + _segment(transport)


def _ip(spec: IpSpec) -> str:
    if spec.check is TosCheck.ECN:
        return f"[{_ECN[spec.traffic_class & 3]}] "
    if spec.check is TosCheck.ECT:
        return "[ect01] "
    if spec.check is TosCheck.ALL:
        return f"[tos {spec.traffic_class:#x}] "
    return ""


def _segment(spec: TcpSpec) -> str:
    text = f"{_flags(spec.flags)} {spec.seq}:{(spec.seq + spec.length) & 0xFFFFFFFF}({spec.length})"
    if spec.flags & tcp.ACK:
        text += f" ack {spec.ack}"
    if spec.window is not None:
        text += f" win {spec.window}"
    if spec.urgent_pointer:
        text += f" urg {spec.urgent_pointer}"
    options = "<...>" if spec.options is None else format_options(spec.options)
    return f"{text} {options}".rstrip()


def seconds(nanoseconds: int) -> str:
    """A time of the script."""
    return f"{nanoseconds / 1e9:.6f}"
