"""TUN devices against the kernel, in a network namespace: frames in and out, with every offload and without."""

import errno
import fcntl
import os
import socket
import struct
import sys

import pytest

from tests.support.frames import (
    append_partial,
    append_super,
    burst_of,
    contents,
    ip_header_length,
    is_valid,
    tcp_packet,
    udp_packet,
)
from tests.support.raising import raises_errno
from ustack.address import format_address
from ustack.burst import Burst
from ustack.link import tun
from ustack.link.device import ALL_OFFLOADS
from ustack.link.namespace import Namespace
from ustack.link.tun import TunDevice, create_tun
from ustack.native import lib
from ustack.wire import ipv4, ipv6, tcp

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
STACK = {4: "10.9.0.2", 6: "fd09::2"}
KERNEL = {4: "10.9.0.1", 6: "fd09::1"}
UDP_SEGMENT = 103
TUN_F_USO = 0x60

both_families = pytest.mark.parametrize("version", [4, 6])
with_and_without_offload = pytest.mark.parametrize("offload", [True, False])


@pytest.fixture
def kernel_socket(namespace: Namespace, request: pytest.FixtureRequest):
    """Opens the kernel's sockets in the namespace, with a time-out that only a failing test waits for."""

    def open_one(version: int, kind: int) -> socket.socket:
        opened = namespace.open_socket(FAMILIES[version], kind)
        request.addfinalizer(opened.close)
        opened.settimeout(10)
        if kind == socket.SOCK_STREAM:  # an abandoned connection would retransmit into the next test's device
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return opened

    return open_one


@pytest.fixture
def udp_server(kernel_socket):
    def open_one(version: int) -> socket.socket:
        server = kernel_socket(version, socket.SOCK_DGRAM)
        server.bind((KERNEL[version], 9))
        return server

    return open_one


def read(device: TunDevice) -> Burst:
    burst = Burst()
    device.read(burst, 0)
    return burst


def run_inside(namespace: Namespace, code: str, *arguments: str) -> None:
    assert namespace.run([sys.executable, "-c", code, *arguments]).wait(30) == 0


SET_LINK = """
import sys
from pyroute2 import IPRoute
with IPRoute() as kernel:
    (index,) = kernel.link_lookup(ifname=sys.argv[1])
    kernel.link("del", index=index) if sys.argv[2] == "gone" else kernel.link("set", index=index, state=sys.argv[2])
"""


def set_link(namespace: Namespace, device: TunDevice, state: str) -> None:
    run_inside(namespace, SET_LINK, device.name, state)


@both_families
@with_and_without_offload
def test_what_a_kernel_socket_sends_is_read_whole(open_tun, kernel_socket, version: int, offload: bool) -> None:
    device = open_tun(offload=offload)
    sender = kernel_socket(version, socket.SOCK_DGRAM)
    sender.sendto(b"hello", (STACK[version], 7))
    burst = read(device)
    assert len(burst) == 1
    packet = burst.completed(0)
    assert is_valid(packet)
    assert packet.endswith(b"hello")
    parsed = ipv4.parse(packet) if version == 4 else ipv6.parse(packet)
    assert format_address(parsed.source) == KERNEL[version]
    assert format_address(parsed.destination) == STACK[version]
    assert offload or contents(burst) == [packet]
    assert device.counters.read == 1


def test_the_kernel_keeps_a_thousand_frames(open_tun, kernel_socket) -> None:
    device = open_tun()
    sender = kernel_socket(4, socket.SOCK_DGRAM)
    sender.connect((STACK[4], 7))
    for _ in range(1000):
        sender.send(b"x")
    while device.read(Burst(), 0):
        pass
    assert device.counters.read == 1000


def test_nothing_to_read_is_no_error(open_tun) -> None:
    device = open_tun()
    burst = Burst()
    assert device.read(burst, 0) == 0
    assert device.next_deadline() is None


@both_families
@with_and_without_offload
@pytest.mark.parametrize("partial", [False, True])
def test_what_is_written_arrives_at_a_kernel_socket(
    open_tun, udp_server, version: int, offload: bool, partial: bool
) -> None:
    device = open_tun(offload=offload)
    server = udp_server(version)
    burst = Burst()
    append = append_partial if partial else Burst.append
    for payload in (b"one", b"two"):
        append(burst, udp_packet(version, payload))
    assert device.write(burst, 0) == 2
    assert [server.recv(100), server.recv(100)] == [b"one", b"two"]
    assert device.counters.written == 2


def test_more_frames_than_a_burst_holds_are_read_in_turn(open_tun, kernel_socket) -> None:
    device = open_tun()
    sender = kernel_socket(4, socket.SOCK_DGRAM)
    sender.connect((STACK[4], 7))
    for i in range(300):
        sender.send(i.to_bytes(2, "big"))
    first, second = read(device), read(device)
    assert len(first) == lib.BURST_FRAMES
    numbers = [int.from_bytes(packet[28:], "big") for packet in contents(first) + contents(second)]
    assert numbers == list(range(300))


@both_families
def test_a_batch_of_datagrams_comes_as_one_super_segment(open_tun, kernel_socket, version: int) -> None:
    device = open_tun()
    if not device.offload & lib.OFFLOAD_USO:
        pytest.skip("this kernel grants no USO")
    sender = kernel_socket(version, socket.SOCK_DGRAM)
    sender.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1000)
    sender.sendto(bytes(9500), (STACK[version], 7))
    burst = read(device)
    assert len(burst) == 1
    frame = burst.cdata.frames[0]
    assert (frame.gso_type, frame.gso_size) == (lib.GSO_UDP_L4, 1000)
    assert frame.length == ip_header_length(version) + 8 + 9500


@both_families
def test_without_offload_a_batch_of_datagrams_comes_cut(open_tun, kernel_socket, version: int) -> None:
    device = open_tun(offload=False)
    assert device.offload == 0
    sender = kernel_socket(version, socket.SOCK_DGRAM)
    sender.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1000)
    sender.sendto(bytes(9500), (STACK[version], 7))
    packets = contents(read(device))
    assert len(packets) == 10
    assert all(is_valid(packet) for packet in packets)


@both_families
@pytest.mark.parametrize("offload", [ALL_OFFLOADS, ALL_OFFLOADS & ~lib.OFFLOAD_USO, 0])
def test_a_udp_super_segment_arrives_as_datagrams(open_tun, udp_server, version: int, offload: int) -> None:
    device = open_tun()
    device.offload &= offload
    server = udp_server(version)
    payload = bytes(i % 251 for i in range(9500))
    burst = Burst()
    append_super(burst, udp_packet(version, payload), 1000)
    assert device.write(burst, 0) == 1
    datagrams = [server.recv(2000) for _ in range(10)]
    assert [len(datagram) for datagram in datagrams] == [1000] * 9 + [500]
    assert b"".join(datagrams) == payload
    assert device.counters.cut == (0 if device.offload & lib.OFFLOAD_USO else 1)


class Handshake:
    """The stack's side of a TCP connection that the kernel opens, by hand."""

    def __init__(self, device: TunDevice, client: socket.socket, version: int) -> None:
        self.device, self.version = device, version
        client.setblocking(False)
        assert client.connect_ex((STACK[version], 9)) == errno.EINPROGRESS
        start = ip_header_length(version)
        syn = tcp.parse(read(device).completed(0)[start:])
        self.port, self.rcv_nxt = syn.source_port, syn.seq + 1 & 0xFFFFFFFF
        self.write(self.segment(b"", 999, tcp.SYN | tcp.ACK))
        read(device)
        client.settimeout(10)

    def segment(self, payload: bytes, seq: int, flags: int) -> bytes:
        packet = tcp_packet(self.version, payload, seq, flags)
        start = ip_header_length(self.version)
        addresses = (packet[12:16], packet[16:20]) if self.version == 4 else (packet[8:24], packet[24:40])
        header = tcp.build(9, self.port, seq, self.rcv_nxt, flags, 65_535, payload=payload, pseudo=addresses)
        return packet[:start] + header + payload

    def write(self, packet: bytes) -> None:
        assert self.device.write(burst_of(packet), 0) == 1


@both_families
@with_and_without_offload
def test_the_kernels_tcp_sends_super_segments_where_it_may(
    open_tun, kernel_socket, version: int, offload: bool
) -> None:
    device = open_tun(offload=offload)
    client = kernel_socket(version, socket.SOCK_STREAM)
    Handshake(device, client, version)
    client.send(bytes(4000))
    burst = read(device)
    packets = [burst.completed(index) for index in range(len(burst))]
    assert all(is_valid(packet) for packet in packets)
    gso_types = {burst.cdata.frames[index].gso_type for index in range(len(burst))}
    assert gso_types == ({lib.GSO_TCPV4 if version == 4 else lib.GSO_TCPV6} if offload else {lib.GSO_NONE})
    headers = ip_header_length(version) + 20
    assert sum(len(packet) - headers for packet in packets) == 4000
    assert offload or max(map(len, packets)) <= 1500


@both_families
@pytest.mark.parametrize("offload", [ALL_OFFLOADS, lib.OFFLOAD_CHECKSUM, 0])
def test_a_tcp_super_segment_arrives_as_its_bytes(open_tun, kernel_socket, version: int, offload: int) -> None:
    device = open_tun()
    device.offload &= offload
    client = kernel_socket(version, socket.SOCK_STREAM)
    connection = Handshake(device, client, version)
    payload = bytes(i % 251 for i in range(30_000))
    burst = Burst()
    append_super(burst, connection.segment(payload, 1000, tcp.ACK | tcp.PSH), 1000)
    assert device.write(burst, 0) == 1
    received = b""
    while len(received) < len(payload):
        received += client.recv(65_536)
    assert received == payload


@both_families
def test_an_offload_that_the_kernel_refuses_at_the_first_write_is_given_up_and_nothing_is_lost(
    open_tun, udp_server, version: int
) -> None:
    device = open_tun()
    server = udp_server(version)
    burst = Burst()
    burst.append(udp_packet(version, b"before"))
    append_super(burst, udp_packet(version, bytes(3000)), 1000)
    burst.cdata.frames[1].header_length = 0xFFFF  # more than the frame: EINVAL, as from a kernel that knows no USO
    burst.append(udp_packet(version, b"after"))
    before = device.offload
    assert device.write(burst, 0) == 3
    assert [len(server.recv(2000)) for _ in range(5)] == [6, 1000, 1000, 1000, 5]
    assert device.offload == before & ~lib.OFFLOAD_USO
    assert burst.cdata.offload == device.offload
    assert (device.counters.cut, device.counters.malformed) == (1, 0)


def test_a_partial_checksum_that_the_kernel_refuses_is_completed_and_all_offloads_are_given_up(
    open_tun, udp_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = open_tun()
    server = udp_server(4)
    burst = Burst()
    append_partial(burst, udp_packet(4, b"partial"))

    class RefusesPartial:
        def __getattr__(self, name: str):
            return getattr(lib, name)

        def device_write(self, descriptor, cdata, header, first: int) -> int:
            if cdata.frames[first].flags:
                return -errno.EINVAL
            return lib.device_write(descriptor, cdata, header, first)

    monkeypatch.setattr(tun, "lib", RefusesPartial())
    assert device.write(burst, 0) == 1
    assert server.recv(100) == b"partial"
    assert device.offload == 0


def test_frames_that_the_kernel_takes_in_no_form_are_counted_and_the_others_go_on(open_tun, udp_server) -> None:
    device = open_tun()
    server = udp_server(4)
    burst = burst_of(b"\x00 not IP", udp_packet(4, b"good"), b"")
    nonsense = b"\x45 nonsense"
    burst.append(nonsense)
    burst.cdata.frames[3].gso_type = lib.GSO_TCPV4
    burst.cdata.frames[3].gso_size = 100
    before = device.offload
    assert device.write(burst, 0) == 4
    assert server.recv(100) == b"good"
    assert device.counters.malformed == 3
    assert device.offload == before


def test_a_link_that_is_down_drops_frames_but_the_device_is_not_gone(namespace, open_tun, udp_server) -> None:
    device = open_tun()
    server = udp_server(4)
    set_link(namespace, device, "down")
    assert device.write(burst_of(udp_packet(4, b"1"), udp_packet(4, b"2")), 0) == 2
    assert device.read(Burst(), 0) == 0
    assert device.counters.link_down == 2
    set_link(namespace, device, "up")
    device.write(burst_of(udp_packet(4, b"3")), 0)
    assert server.recv(100) == b"3"


def test_a_device_that_was_removed_is_gone(namespace, open_tun) -> None:
    device = open_tun()
    set_link(namespace, device, "gone")
    with raises_errno(errno.EBADFD):
        device.read(Burst(), 0)
    with raises_errno(errno.EBADFD):
        device.write(burst_of(udp_packet(4, b"x")), 0)


def test_a_closed_device_is_gone_from_the_kernel_too_and_may_be_closed_again(namespace, open_tun) -> None:
    device = open_tun()
    descriptor = device.fileno()
    device.close()
    device.close()
    assert device.fileno() == -1
    with raises_errno(errno.EBADF):
        os.fstat(descriptor)
    with raises_errno(errno.EBADF):
        device.read(Burst(), 0)
    with raises_errno(errno.EBADF):
        device.write(burst_of(udp_packet(4, b"x")), 0)
    code = "import socket, sys; sys.exit(sys.argv[1] in dict(socket.if_nameindex()).values())"
    run_inside(namespace, code, device.name)


def test_a_device_that_nobody_refers_to_is_closed(namespace, open_tun) -> None:
    device = TunDevice(os.dup(open_tun().fileno()))
    descriptor = device.fileno()
    del device
    with raises_errno(errno.EBADF):
        os.fstat(descriptor)


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (0x01, 0),
        (0x02, ALL_OFFLOADS & ~lib.OFFLOAD_TSO4),
        (0x04, ALL_OFFLOADS & ~lib.OFFLOAD_TSO6),
        (TUN_F_USO, ALL_OFFLOADS & ~lib.OFFLOAD_USO),
    ],
)
def test_each_offload_is_given_up_singly_where_the_kernel_refuses_it(
    open_tun, monkeypatch: pytest.MonkeyPatch, refused: int, expected: int
) -> None:
    device = open_tun()
    ioctl = fcntl.ioctl

    def refuse(descriptor: int, request: int, argument):
        if request == tun._TUNSETOFFLOAD and argument & refused:
            raise OSError(errno.EINVAL, "refused")
        return ioctl(descriptor, request, argument)

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    again = TunDevice(os.dup(device.fileno()))
    assert again.offload == expected & device.offload
    again.close()


def test_a_passed_descriptor_tells_its_own_name_and_kind(open_tun) -> None:
    plain = TunDevice(os.dup(open_tun(offload=False).fileno()))
    assert plain.name.startswith("tun")
    assert plain.offload == 0
    plain.close()


def test_a_descriptor_that_is_no_tun_device_is_refused_and_closed() -> None:
    descriptor, other = os.pipe()
    with pytest.raises(OSError, match="ioctl"):
        TunDevice(descriptor)
    os.close(other)
    with raises_errno(errno.EBADF):
        os.fstat(descriptor)


class FakePytun:
    """pytun of a kernel without IFF_VNET_HDR."""

    IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 1, 0x1000, 0x4000
    Error = OSError

    def __init__(self, number: int) -> None:
        self.number = number
        self.flags: list[int] = []
        self.file = open(os.devnull, "rb")  # noqa: SIM115

    def TunTapDevice(self, name: str, flags: int):  # noqa: N802
        self.flags.append(flags)
        if flags & self.IFF_VNET_HDR:
            raise OSError(self.number, "refused")
        return self.file


def test_a_kernel_without_vnet_header_gives_a_plain_device(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakePytun(errno.EINVAL)
    monkeypatch.setattr(tun, "pytun", fake)
    descriptor = create_tun("tun0")
    assert fake.flags == [0x5001, 0x1001]
    assert fake.file.closed
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_other_refusals_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakePytun(errno.EPERM)
    monkeypatch.setattr(tun, "pytun", fake)
    with raises_errno(errno.EPERM):
        create_tun("tun0")
    fake.file.close()


def test_a_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(OSError, match="TUN device"):
        create_tun("a-name-that-is-too-long-for-linux")


def test_the_kernel_sends_nothing_by_itself(namespace, open_tun) -> None:
    device = open_tun()
    code = """
import pathlib, sys
lines = [line.split() for line in pathlib.Path("/proc/net/if_inet6").read_text().splitlines()]
assert [line[0] for line in lines if line[5] == sys.argv[1]] == ["fd090000000000000000000000000001"], lines
conf = pathlib.Path("/proc/sys/net/ipv6/conf", sys.argv[1])
assert [(conf / key).read_text() for key in ("accept_ra", "router_solicitations")] == ["0\\n", "0\\n"]
"""
    run_inside(namespace, code, device.name)
    assert device.read(Burst(), 0) == 0


def test_mtu_and_routes_are_set(namespace, open_tun, kernel_socket) -> None:
    device = open_tun(mtu=9000, routes=("192.0.2.0/24", "2001:db8::/32"))
    assert device.mtu == 9000
    for version, destination in ((4, "192.0.2.7"), (6, "2001:db8::7")):
        sender = kernel_socket(version, socket.SOCK_DGRAM)
        sender.sendto(bytes(8900), (destination, 7))
        burst = read(device)
        assert len(burst) == 1
        assert len(burst.frame(0)) == ip_header_length(version) + 8 + 8900


def test_the_vnet_headers_size_is_ten_bytes(open_tun) -> None:
    size = fcntl.ioctl(open_tun().fileno(), 0x800454D7, struct.pack("i", 0))
    assert struct.unpack("i", size) == (10,)
