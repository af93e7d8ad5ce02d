"""`Exchange`: the packets of a run, both ways: what the script injects, and what the stack has sent, as it expects it.

One socket is under test: the last one made or connected, or the child of a listener for whom a segment has arrived.
Packets of others are passed over.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from ustack.address import parse_address
from ustack.drops import Drop
from ustack.link.frame import Frame
from ustack.native import lib
from ustack.packetdrill import icmp_messages, matching, notation, packets
from ustack.packetdrill.flow import Flow, FlowState
from ustack.packetdrill.machine import Machine
from ustack.packetdrill.packets import Endpoints, LivePacket
from ustack.packetdrill.problems import Failed
from ustack.packetdrill.script import INBOUND, OUTBOUND, IcmpSpec, PacketSpec, TcpSpec, UdpSpec
from ustack.packetdrill.settings import Settings
from ustack.packetdrill.system_calls import SystemCalls
from ustack.wire import tcp

_FIRST_EPHEMERAL_PORT = 32768
_EPHEMERAL_PORTS = 28000
_SYN_ACK = tcp.SYN | tcp.ACK


class Mismatch(Failed):
    """An outbound packet is not the expected one."""

    def __init__(self, message: str, expected: str, actual: tuple[str, ...]) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class Exchange:
    """The packets of one run."""

    def __init__(self, machine: Machine, calls: SystemCalls, settings: Settings) -> None:
        self._machine = machine
        self._calls = calls
        self._settings = settings
        self._local = parse_address(settings.addresses.local)
        self._remote = parse_address(settings.addresses.remote)
        self._next_port = _FIRST_EPHEMERAL_PORT
        if settings.against:
            self._next_port += secrets.randbelow(_EPHEMERAL_PORTS)  # a connection of an earlier run may be there still
        self.log: list[str] = []

    # Which socket.

    def flow_for(self, spec: PacketSpec) -> Flow:
        """The socket that a packet of the script belongs to, which it may make.  Raises Failed."""
        flow = self._calls.under_test
        if isinstance(spec.transport, TcpSpec):
            if spec.direction == INBOUND and (flow is None or flow.state is FlowState.LISTENING):
                return self._child(spec.transport)
            opening = spec.transport.flags & _SYN_ACK == tcp.SYN and spec.direction == OUTBOUND
            if opening and flow is None and self._settings.is_foreign:
                flow = Flow(FlowState.CONNECTING)
                self._calls.flows.append(flow)
            if opening and flow is not None and flow.state is FlowState.CONNECTING:
                flow.state = FlowState.SYN_SENT
                flow.script_local_isn = spec.transport.seq
        if flow is None:
            raise Failed("no matching socket for script packet")
        return flow

    def _child(self, spec: TcpSpec) -> Flow:
        """The socket that a listener will make of an arriving segment."""
        flow = Flow(FlowState.SYN_ARRIVED)
        flow.remote_isn = spec.seq
        flow.outbound = Endpoints(self._local, self._settings.bind_port, self._remote, self._ephemeral_port())
        self._calls.flows.append(flow)
        return flow

    def _ephemeral_port(self) -> int:
        self._next_port += 1
        return self._next_port

    # Inbound.

    def inject(self, spec: PacketSpec) -> None:
        """Send a packet of the script to the stack."""
        flow = self.flow_for(spec)
        if isinstance(spec.transport, TcpSpec):
            self._inject_segment(flow, spec, spec.transport)
        elif isinstance(spec.transport, IcmpSpec):
            live = icmp_messages.build(spec.transport, self._inbound(flow), flow, self._settings.version)
            self._arrive(live, notation.format_spec(spec))
        else:
            live_udp = self._addressed(LivePacket(0, "udp", self._inbound(flow)), spec.transport.ports)
            live_udp.payload = bytes(spec.transport.length)
            self._arrive(packets.build(packets.apply_ip(live_udp, spec.ip)), notation.format_spec(spec))

    def _inbound(self, flow: Flow) -> Endpoints:
        if flow.outbound is None:
            default = Endpoints(self._local, self._settings.bind_port, self._remote, self._settings.connect_port)
            flow.outbound = default
        return flow.outbound.reversed()

    def _inject_segment(self, flow: Flow, spec: PacketSpec, segment: TcpSpec) -> None:
        if flow.state is FlowState.SYN_ACK_SENT and segment.flags & tcp.ACK:
            flow.state = FlowState.SYN_ACK_ACKNOWLEDGED
        elif flow.state is FlowState.SYN_SENT and segment.flags & _SYN_ACK == _SYN_ACK:
            flow.state = FlowState.SYN_ACKNOWLEDGED
            flow.remote_isn = segment.seq
        scripted = LivePacket(
            0, "tcp", self._inbound(flow), seq=segment.seq, ack=segment.ack, flags=segment.flags,
            window=segment.window or 0, urgent_pointer=segment.urgent_pointer, options=segment.options or b"",
            payload=bytes(segment.length),
        )  # fmt: skip
        live = flow.to_wire(self._addressed(scripted, segment.ports), scaled=self._settings.scaled_echo)
        flow.last_inbound = live
        frame = Frame(packets.build(packets.apply_ip(live, spec.ip)))
        if self._settings.mss and segment.length > self._settings.mss:
            frame.gso_type = lib.GSO_TCPV4 if live.version == 4 else lib.GSO_TCPV6
            frame.gso_size = self._settings.mss
        self._note(INBOUND, notation.format_spec(spec))
        self._machine.inject(frame)

    def _addressed(self, packet: LivePacket, ports: tuple[int, int]) -> LivePacket:
        """The packet with the ports that the script has chosen, if it has."""
        ends = packet.endpoints
        source, destination = ports[0] or ends.source_port, ports[1] or ends.destination_port
        return replace(packet, endpoints=Endpoints(ends.source, source, ends.destination, destination))

    def _arrive(self, packet: bytes, text: str) -> None:
        self._note(INBOUND, text)
        self._machine.inject(Frame(packet))

    def _note(self, direction: str, text: str) -> None:
        self.log.append(f"{notation.seconds(self._machine.now)} {direction} {text}")

    # Outbound.

    def next_packet(self, flow: Flow, limit: int) -> LivePacket | None:
        """The next packet of the socket under test, which time passes for until `limit`."""
        while True:
            packet = self._sniff(flow)
            if packet is not None:
                return packet
            if not self._machine.run_while_busy(limit, lambda: bool(self._machine.device.sent)):
                return None

    def _sniff(self, flow: Flow) -> LivePacket | None:
        """The first packet of the flow among those that were sent."""
        sent = self._machine.device.sent
        while sent:
            packet = self._parsed(*sent.popleft())
            if packet is not None and (_is_of(flow, packet) or self._opens(flow, packet)):
                return packet
        return None

    def _parsed(self, now: int, packet: bytes) -> LivePacket | None:
        try:
            return packets.parse(packet, self._machine.script_time(now))
        except Drop as drop:
            raise Failed(f"the stack has sent a malformed packet: {drop}") from None

    def _opens(self, flow: Flow, packet: LivePacket) -> bool:
        """Whether a packet is the first one of a socket that connects: then its addresses are learned."""
        if (packet.endpoints.destination, flow.protocol) != (self._remote, packet.kind):
            return False
        if packet.kind == "tcp":
            first = flow.state is FlowState.SYN_SENT and packet.flags & _SYN_ACK == tcp.SYN
        else:
            first = flow.state is FlowState.CONNECTING
        if not first or packet.endpoints.destination_port not in (0, self._settings.connect_port):
            return False
        flow.outbound = packet.endpoints
        flow.local_isn = packet.seq
        return True

    def expect(self, spec: PacketSpec, limit: int) -> LivePacket:
        """Take the packet that the script expects, joined from several if need be, and compare it.

        Raises Mismatch, Failed when none comes until `limit`.
        """
        flow = self.flow_for(spec)
        segment = spec.transport if isinstance(spec.transport, TcpSpec) else None
        if segment is not None and flow.state is FlowState.SYN_ARRIVED and segment.flags & _SYN_ACK == _SYN_ACK:
            flow.script_local_isn = segment.seq
        pieces = self._collect(flow, spec, limit)
        actual = join(pieces)
        try:
            self._compare(flow, spec, actual)
        except Failed as problem:
            raise self._mismatch(problem.message, spec, [actual]) from None
        return actual

    def _collect(self, flow: Flow, spec: PacketSpec, limit: int) -> list[LivePacket]:
        """Packets until they have the expected length, in the script's numbers."""
        wanted = spec.transport.length if isinstance(spec.transport, (TcpSpec, UdpSpec)) else 0
        pieces: list[LivePacket] = []
        size = 0
        while True:
            packet = self.next_packet(flow, limit)
            if packet is None:
                raise self._mismatch("Timed out waiting for packet", spec, pieces)
            packet = self._translated(flow, spec, packet)
            if pieces:
                try:
                    matching.check_pieces(packet, pieces[-1], size, wanted)
                except Failed as problem:
                    raise self._mismatch(problem.message, spec, [*pieces, packet]) from None
            pieces.append(packet)
            size += len(packet.payload)
            if size >= wanted or self._settings.strict_segments or packet.kind == "icmp":
                break
        if size != wanted and pieces[0].kind != "icmp":
            message = f"live packet payload: expected {wanted} bytes vs actual {size} bytes"
            raise self._mismatch(message, spec, pieces)
        return pieces

    def _translated(self, flow: Flow, spec: PacketSpec, packet: LivePacket) -> LivePacket:
        segment = spec.transport
        if packet.kind != "tcp":
            return packet
        if (
            flow.state is FlowState.SYN_ARRIVED
            and isinstance(segment, TcpSpec)
            and segment.flags & _SYN_ACK == _SYN_ACK
        ):
            flow.state = FlowState.SYN_ACK_SENT
            flow.local_isn = packet.seq
        flow.last_outbound = packet
        shown = flow.to_script(packet)
        if isinstance(segment, TcpSpec) and segment.options is not None:
            flow.learn_timestamp(segment.options, shown.options)
        self._note(OUTBOUND, notation.format_live(replace(shown, options=flow.in_script_time(shown.options))))
        return shown

    def _compare(self, flow: Flow, spec: PacketSpec, actual: LivePacket) -> None:
        transport = spec.transport
        if isinstance(transport, UdpSpec):
            if actual.kind != "udp":
                raise Failed(f"expected: UDP header vs actual: {actual.kind.upper()} header")
        elif isinstance(transport, IcmpSpec):
            icmp_messages.check(transport, actual)
        elif actual.kind != "tcp":
            raise Failed(f"expected: TCP header vs actual: {actual.kind.upper()} header")
        else:
            actual.options = flow.in_script_time(actual.options)
            matching.check_segment(transport, actual)
        matching.check_ip(spec.ip, actual)
        self._check_flow_label(flow, spec.ip.flow_label, actual)
        if isinstance(transport, TcpSpec) and transport.options is not None:
            tolerance = max(self._settings.tolerance_ns, int(self._settings.tolerance_fraction * actual.now))
            matching.check_options(transport.options, actual.options, self._settings.timestamp_tick_ns, tolerance)
        if actual.kind != "icmp" and actual.payload.strip(b"\0"):
            raise Failed("incorrect outbound data payload")

    def _check_flow_label(self, flow: Flow, wanted: int, actual: LivePacket) -> None:
        """A label of the script stands for one on the wire; another one must be another one there."""
        if not wanted or actual.version == 4:
            return
        if not actual.flow_label:
            raise Failed("flowlabel unmarked in the live packet")
        known = flow.flow_label or (wanted, actual.flow_label)
        if (wanted == known[0]) != (actual.flow_label == known[1]):
            raise Failed(f"inconsistent flowlabels for this packet: {wanted:#x} is {actual.flow_label:#x} on the wire")
        flow.flow_label = wanted, actual.flow_label

    def _mismatch(self, message: str, spec: PacketSpec, actual: list[LivePacket]) -> Mismatch:
        shown = tuple(f"{notation.seconds(packet.now)} {notation.format_live(packet)}" for packet in actual)
        return Mismatch(message, notation.format_spec(spec), shown)

    def reset(self) -> None:
        """Tell a stack that lives on that the connection under test is over."""
        flow = self._calls.under_test
        last = flow.last_inbound if flow is not None else None
        if last is not None:
            length = len(last.payload) + bool(last.flags & tcp.SYN) + bool(last.flags & tcp.FIN)
            end = replace(
                last, seq=(last.seq + length) & packets.MASK, flags=tcp.RST | tcp.ACK, payload=b"", options=b""
            )
            self._machine.inject(Frame(packets.build(end)))

    def leftover(self) -> LivePacket | None:
        """A packet of the socket under test that the script has not asked for."""
        flow = self._calls.under_test
        if flow is None:
            return None
        packet = self._sniff(flow)
        return flow.to_script(packet) if packet is not None and packet.kind == "tcp" else packet


def _is_of(flow: Flow, packet: LivePacket) -> bool:
    """Whether the flow's socket has sent a packet."""
    if flow.outbound is None:
        return False
    if flow.protocol == "icmp" or packet.kind == "icmp":
        ends = flow.outbound
        sides = (ends.source, ends.destination)
        return flow.protocol == packet.kind and sides == (packet.endpoints.source, packet.endpoints.destination)
    return packet.kind == flow.protocol and packet.endpoints == flow.outbound


def join(pieces: list[LivePacket]) -> LivePacket:
    """One packet of several: the first one's sequence number and CWR, everything else of the last."""
    first, last = pieces[0], pieces[-1]
    if first is last:
        return first
    flags = last.flags & ~tcp.CWR | first.flags & tcp.CWR
    payload = b"".join(piece.payload for piece in pieces)
    return replace(last, seq=first.seq, flags=flags, payload=payload)
