"""Whether an outbound packet is the one that the script expects: field by field, as the original compares them.

Not compared: TTL, traffic class and flow label unless the script gives them, IP identification, DF, checksums, the
window unless given, timestamp values unless a tick is given, the echo of a timestamp.
"""

from __future__ import annotations

from ustack.packetdrill.flow import find_timestamps
from ustack.packetdrill.packets import MASK, LivePacket, iterate_options
from ustack.packetdrill.problems import Failed
from ustack.packetdrill.script import IpSpec, TcpSpec, TosCheck
from ustack.wire import tcp, tcp_options

_FLAG_NAMES = (
    ("fin", tcp.FIN), ("syn", tcp.SYN), ("rst", tcp.RST), ("psh", tcp.PSH), ("ack", tcp.ACK), ("urg", tcp.URG),
    ("ece", tcp.ECE), ("cwr", tcp.CWR), ("ae", tcp.AE),
)  # fmt: skip
_ONLY_IN_LAST = tcp.FIN | tcp.PSH | tcp.CWR
"""The flags in which the pieces of a super-segment may differ."""


def check_field(name: str, expected: int, actual: int) -> None:
    """Raise Failed unless two numbers are equal."""
    if expected != actual:
        raise Failed(
            f"live packet field {name}: expected: {expected} ({expected:#x}) vs actual: {actual} ({actual:#x})"
        )


def check_segment(spec: TcpSpec, actual: LivePacket) -> None:
    """Compare a segment, already in the script's numbers, with what the script says."""
    expected_header = len(actual.options if spec.options is None else spec.options)
    check_field("tcp_data_offset", 5 + expected_header // 4, 5 + len(actual.options) // 4)
    for name, bit in _FLAG_NAMES:
        if not (spec.by_ace and name in ("ece", "cwr", "ae")):
            check_field(f"tcp_{name}", int(bool(spec.flags & bit)), int(bool(actual.flags & bit)))
    if spec.by_ace:
        check_field("tcp_ace", spec.flags >> 6 & 7, actual.flags >> 6 & 7)
    check_field("tcp_reserved_bits", 0, actual.reserved)
    check_field("tcp_seq", spec.seq, actual.seq)
    check_field("tcp_ack_seq", spec.ack, actual.ack)
    if spec.window is not None:
        check_field("tcp_window", spec.window, actual.window)
    check_field("tcp_urg_ptr", spec.urgent_pointer, actual.urgent_pointer)


def check_ip(spec: IpSpec, actual: LivePacket) -> None:
    """Compare what the script gives of the IP header."""
    ecn = actual.traffic_class & 3
    if spec.check is TosCheck.ECN:
        check_field("ip_ecn", spec.traffic_class & 3, ecn)
    elif spec.check is TosCheck.ALL:
        check_field("tos", spec.traffic_class, actual.traffic_class)
    elif spec.check is TosCheck.ECT and ecn not in (1, 2):
        raise Failed(f"live packet field ip_ecn: expected: 0x1 or 0x2 vs actual: {ecn:#x}")
    if spec.ttl:
        check_field("ttl", spec.ttl, actual.ttl)


def check_options(script: bytes, actual: bytes, tick_ns: int, tolerance_ns: int) -> None:
    """Compare options in order, byte for byte but for timestamps; with a tick, their values within a tolerance."""
    expected, found = iterate_options(script), iterate_options(actual)
    if [kind for kind, _, _ in expected] != [kind for kind, _, _ in found]:
        raise Failed("bad outbound TCP options")
    for (kind, wanted, _), (_, data, _) in zip(expected, found, strict=True):
        if kind == tcp_options.TIMESTAMPS:
            _check_timestamps(script, actual, tick_ns, tolerance_ns)
        elif wanted != data:
            what = "length" if len(wanted) != len(data) else "value"
            raise Failed(
                f"bad {what} in outbound TCP option (kind={kind}): expected: {wanted.hex()} actual: {data.hex()}"
            )


def _check_timestamps(script: bytes, actual: bytes, tick_ns: int, tolerance_ns: int) -> None:
    expected, found = find_timestamps(script), find_timestamps(actual)
    if not tick_ns or expected is None or found is None:
        return
    distance = (found[0] - expected[0] + (1 << 31) & MASK) - (1 << 31)
    if abs(distance) * tick_ns > tolerance_ns:
        raise Failed(f"bad outbound TCP timestamp value, tolerance {tolerance_ns // 1000}")


def check_pieces(piece: LivePacket, before: LivePacket, so_far: int, wanted: int) -> None:
    """Whether a segment continues the one before it, as two pieces of one super-segment do."""
    if (piece.flags ^ before.flags) & ~_ONLY_IN_LAST:
        raise Failed(f"pieces of a packet with flags {before.flags:#x} and {piece.flags:#x}")
    check_field("tcp_data_offset", len(before.options), len(piece.options))
    check_field("tcp_seq", (before.seq + len(before.payload)) & MASK, piece.seq)
    check_field("tcp_ack_seq", before.ack, piece.ack)
    check_field("tcp_window", before.window, piece.window)
    check_field("tcp_urg_ptr", before.urgent_pointer, piece.urgent_pointer)
    if len(piece.payload) < wanted - so_far and len(piece.payload) != len(before.payload):
        raise Failed(
            f"fragment payload: expected {len(before.payload)} bytes vs actual {len(piece.payload)} bytes; "
            f"total payload: expected {wanted} bytes vs actual {so_far + len(piece.payload)} bytes"
        )
