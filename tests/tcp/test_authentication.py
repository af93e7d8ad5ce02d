"""Signed segments: TCP-AO (RFC 5925, RFC 5926) and MD5 (RFC 2385)."""

from __future__ import annotations

import hashlib
import socket as stdlib
import struct
from typing import Any

import pytest

from tests.support.hosts import CLIENT, CLIENT6, SERVER, SERVER6, two_hosts
from tests.support.stream import close, drain, dropped, established, read, state_of, write
from ustack.api.socket import socket
from ustack.constants import IPPROTO_TCP
from ustack.drops import Drop, DropReason
from ustack.native import ffi, lib
from ustack.sim.peer import Peer
from ustack.tcp.authentication.aes import Aes128, cmac
from ustack.tcp.authentication.algorithms import ALGORITHMS
from ustack.tcp.authentication.authentication_option import Extension, OptionGuard
from ustack.tcp.authentication.keys import KeyRing, MasterKey, Peers
from ustack.tcp.listener import Listener
from ustack.tcp.segment import Segment
from ustack.tcp.state import State
from ustack.wire import tcp, tcp_options

SECRET = b"secret"


class TestCipher:
    """AES-128 and its CMAC, by the vectors of their documents."""

    def test_aes_encrypts_the_example_of_fips_197(self) -> None:
        key = bytes(range(16))
        plain = bytes.fromhex("00112233445566778899aabbccddeeff")
        assert Aes128(key).encrypt(plain).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"

    @pytest.mark.parametrize(
        ("length", "expected"),
        [
            (0, "bb1d6929e95937287fa37d129b756746"),
            (16, "070a16b46b4d4144f79bdd9dd04a287c"),
            (40, "dfa66747de9ae63030ca32611497c827"),
            (64, "51f0bebf7e3b9d92fc49741779363cfe"),
        ],
    )
    def test_cmac_gives_the_examples_of_rfc_4493(self, length: int, expected: str) -> None:
        key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
        message = bytes.fromhex(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
            "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
        )
        assert cmac(key, message[:length]).hex() == expected


VECTORS = [
    (
        "hmac(sha1)", True, 0, 0,
        "0a0b0c0dac1b1c1d",
        "e9d700b3fbfbab5a00000000e002ffffcac40000020405b4010303080402080a00155ab7000000001d103d54"
        "2ee437c6f8ede6d7c4d602e7",
    ),
    (
        "hmac(sha1)", True, 0x11C14261, 0xFBFBAB5A,
        "ac1b1c1d0a0b0c0d",
        "00b3e9d711c14261fbfbab5be012ffff37760000020405b4010303080402080a84a50beb00155ab71d10543d"
        "eeab0fe24c3010815116b3be",
    ),
    (
        "hmac(sha1)", False, 0, 0,
        "0a0b0c0dac1b1c1d",
        "ff1200b3cb0efbee00000000e002ffff541f0000020405b4010303080402080a00024cce000000001d103d54"
        "80af3cfeb85368937b8f9ec2",
    ),
    (
        "cmac(aes128)", True, 0, 0,
        "0a0b0c0dac1b1c1d",
        "c4fa00b3787a1ddf00000000e002ffff5a0f0000020405b4010303080402080a00017ed0000000001d103d54"
        "e477e99c8040765498e55091",
    ),
    (
        "cmac(aes128)", True, 0xFADD6DE9, 0x787A1DDF,
        "ac1b1c1d0a0b0c0d",
        "00b3c4fafadd6dea787a1e23c0180100e7db00000101080a93f4e9e800017ed01d10543df6d965a78382a748"
        "45f72dacffffffffffffffffffffffffffffffff00430104dac000b4ac1b1c1d260206010400010001020280"
        "000202020002024200020641040000dac00208400600640001 0100".replace(" ", ""),
    ),
    (
        "cmac(aes128)", False, 0, 0,
        "0a0b0c0dac1b1c1d",
        "da1c00b3389bed7100000000e002ffff70bf0000020405b4010303080402080a000185e1000000001d103d54"
        "c44e60cb31f7c0b1de3d2749",
    ),
    (
        "hmac(sha1)", True, 0, 0,
        "fd000000000000000000000000000001fd000000000000000000000000000002",
        "f7e400b3176a833f00000000e002ffff47210000020405a0010303080402080a0041d087000000001d103d54"
        "9033ec3d7334b64c5edd039f",
    ),
]  # fmt: skip
"""RFC 9235 §4 to §6: algorithm, whether options are covered, the sender's and the receiver's ISN after the SYN, both
addresses, the segment."""


def segment_of(path: str, transport: str) -> Segment:
    """The segment as the stack would see it."""
    raw = memoryview(bytes.fromhex(transport))
    addresses = bytes.fromhex(path)
    remote, local = addresses[: len(addresses) // 2], addresses[len(addresses) // 2 :]
    header = tcp.parse(raw)
    return Segment(
        local, header.destination_port, remote, header.source_port, header.seq, header.ack, header.flags,
        header.window, 0, tcp_options.parse_options(header.options), raw[header.data_offset :], 0, 0, raw=raw,
    )  # fmt: skip


@pytest.mark.parametrize("vector", VECTORS)
def test_the_segments_of_rfc_9235_are_genuine(vector: tuple[str, bool, int, int, str, str]) -> None:
    algorithm, covers, sender_isn, receiver_isn, path, transport = vector
    segment = segment_of(path, transport)
    key_id = segment.options.authentication[0] if segment.options.authentication else 0
    everybody = Peers(bytes(len(segment.remote)), 0)
    key = MasterKey(everybody, ALGORITHMS[algorithm], b"testvector", 84, key_id, covers)
    tcb = ffi.new("struct tcb *", {"irs": sender_isn, "iss": receiver_isn})
    OptionGuard(KeyRing(masters=[key]), segment.remote).verify(tcb, segment)
    forged = segment_of(path, transport[:-2] + f"{int(transport[-2:], 16) ^ 1:02x}")
    with pytest.raises(Drop):
        OptionGuard(KeyRing(masters=[key]), segment.remote).verify(tcb, forged)


def md5_ring(peer: Peer, key: bytes = SECRET) -> KeyRing:
    """A key for the peer."""
    return KeyRing(md5={Peers(peer.remote, 8 * len(peer.remote)): key})


def signed_listener(peer: Peer, ring: KeyRing) -> Listener:
    """A listener with keys."""
    listener = peer.listen()
    listener.options.authentication = ring
    return listener


class TestMd5:
    """The peer signs by hand: digest of pseudo-header, header, data and key."""

    def inject(self, peer: Peer, flags: str, seq: int, ack: int = 0, payload: bytes = b"", key: bytes = SECRET) -> None:
        """A signed segment."""
        unsigned = peer.segment(flags, seq, ack, payload, md5=bytes(16))
        start = 20 if peer.version == 4 else 40
        segment = unsigned[start:]
        digest = hashlib.md5(self.pseudo(peer, len(segment)))
        digest.update(segment[:16] + bytes(2) + segment[18:20] + payload + key)
        peer.inject(flags, seq, ack, payload, md5=digest.digest())

    def pseudo(self, peer: Peer, length: int) -> bytes:
        """From the peer to the stack."""
        if peer.version == 4:
            return peer.remote + peer.local + bytes((0, IPPROTO_TCP)) + length.to_bytes(2, "big")
        return peer.remote + peer.local + length.to_bytes(4, "big") + bytes((0, 0, 0, IPPROTO_TCP))

    def test_a_connection_between_signers_carries_data(self, peer: Peer) -> None:
        listener = signed_listener(peer, md5_ring(peer))
        self.inject(peer, "S", 0)
        syn_ack = peer.expect("S.", 0, 1)
        assert syn_ack.options.md5 not in (None, bytes(16))
        assert syn_ack.options.timestamps is None
        self.inject(peer, ".", 1, 1)
        connection = listener.accept()
        self.inject(peer, "P.", 1, 1, b"hello")
        peer.advance(300)
        assert drain(peer)[-1].options.md5
        assert read(peer, connection) == b"hello"
        write(peer, connection, b"x" * 3000)
        segments = drain(peer)
        assert sum(len(each.payload) for each in segments) == 3000
        assert all(each.options.md5 and len(each.payload) + 20 <= 1460 for each in segments)
        close(peer, connection)
        assert peer.sent[-1].options.md5

    def test_a_segment_without_signature_is_dropped_silently(self, peer: Peer) -> None:
        signed_listener(peer, md5_ring(peer))
        with dropped(peer, DropReason.TCP_SIGNATURE_MISSING):
            peer.inject("S", 0)
        peer.expect_nothing()

    def test_a_wrong_signature_is_dropped_silently(self, peer: Peer) -> None:
        signed_listener(peer, md5_ring(peer))
        with dropped(peer, DropReason.TCP_SIGNATURE_WRONG):
            self.inject(peer, "S", 0, key=b"guess")
        peer.expect_nothing()

    def test_a_forged_rst_does_not_end_a_signed_connection(self, peer: Peer) -> None:
        listener = signed_listener(peer, md5_ring(peer))
        self.inject(peer, "S", 0)
        peer.expect("S.", 0, 1)
        self.inject(peer, ".", 1, 1)
        connection = listener.accept()
        with dropped(peer, DropReason.TCP_SIGNATURE_MISSING):
            peer.inject("R", 1)
        assert state_of(connection) == State.ESTABLISHED

    def test_a_rst_for_a_signer_is_signed(self, peer: Peer) -> None:
        signed_listener(peer, md5_ring(peer))
        with dropped(peer, DropReason.TCP_LISTEN_ACK):
            self.inject(peer, ".", 1, 77)
        assert peer.expect("R", 77).options.md5

    def test_a_signature_that_nobody_has_asked_for_is_refused(self, peer: Peer) -> None:
        connection = established(peer)
        with dropped(peer, DropReason.TCP_SIGNATURE_UNEXPECTED):
            self.inject(peer, "P.", 1, 1, b"hello")
        with pytest.raises(BlockingIOError):
            read(peer, connection)

    def test_an_active_open_is_signed(self, peer: Peer) -> None:
        connection = peer.socket()
        connection.options.authentication = md5_ring(peer)
        connection.bind(peer.local, peer.local_port)
        with pytest.raises(BlockingIOError):
            connection.connect(peer.remote, peer.port, peer.now)
        peer.collect()
        assert peer.expect("S", 0).options.md5
        self.inject(peer, "S.", 0, 1)
        assert peer.expect(".", 1, 1).options.md5
        assert state_of(connection) == State.ESTABLISHED

    def test_peers_outside_the_prefix_need_no_signature(self, peer: Peer) -> None:
        other = bytes(len(peer.remote) - 1) + b"\x09"
        listener = signed_listener(peer, KeyRing(md5={Peers(other, 8 * len(other)): SECRET}))
        peer.inject("S", 0)
        assert peer.expect("S.", 0, 1).options.md5 is None
        assert listener.syn_queue

    def test_the_longest_prefix_has_the_key(self) -> None:
        wide, narrow = Peers(b"\x0a\0\0\0", 8), Peers(b"\x0a\0\0\0", 24)
        ring = KeyRing(md5={wide: b"wide", narrow: b"narrow"})
        assert ring.md5_key(b"\x0a\0\0\2") == b"narrow"
        assert ring.md5_key(b"\x0a\1\0\2") == b"wide"
        assert ring.md5_key(b"\x0b\0\0\2") is None


def master(peers: Peers, algorithm: str, send_id: int, receive_id: int, *, options: bool = True) -> MasterKey:
    """A Master Key Tuple."""
    return MasterKey(peers, ALGORITHMS[algorithm], SECRET, send_id, receive_id, options)


EVERYBODY = {4: Peers(bytes(4), 0), 6: Peers(bytes(16), 0)}


def add_key(sock: Any, peer: str, algorithm: str, send_id: int, receive_id: int, *, options: bool, bits: int) -> None:
    """TCP_AO_ADD_KEY."""
    family = stdlib.AF_INET6 if ":" in peer else stdlib.AF_INET
    packed = stdlib.inet_pton(family, peer)
    storage = struct.pack("=HH", family, 0) + (bytes(4) if family == stdlib.AF_INET6 else b"") + packed
    value = struct.pack(
        "=128s64siIHBBBBBB80s", storage, algorithm.encode(), 0, bits, 0, 8 * len(packed), send_id, receive_id, 12,
        0 if options else 2, len(SECRET), SECRET,
    )  # fmt: skip
    sock.setsockopt(stdlib.IPPROTO_TCP, 38, value)


PAYLOAD = bytes(range(256)) * 400


@pytest.mark.parametrize("algorithm", ["hmac(sha1)", "cmac(aes128)", "hmac(sha256)"])
@pytest.mark.parametrize("options", [False, True])
@pytest.mark.parametrize("offload", [0, lib.OFFLOAD_CHECKSUM | lib.OFFLOAD_TSO4 | lib.OFFLOAD_TSO6])
def test_two_stacks_with_the_same_keys_carry_data(version: int, algorithm: str, options: bool, offload: int) -> None:
    here, there = (SERVER, CLIENT) if version == 4 else (SERVER6, CLIENT6)
    family = stdlib.AF_INET if version == 4 else stdlib.AF_INET6
    size = len(PAYLOAD) if algorithm != "cmac(aes128)" else 5000

    def serve() -> bytes:
        with socket(family) as listener:
            add_key(listener, there, algorithm, 1, 2, options=options, bits=0)
            listener.bind((here, 179))
            listener.listen()
            connection, _ = listener.accept()
            with connection:
                received = b""
                while len(received) < size:
                    received += connection.recv(1 << 16)
                connection.sendall(b"thanks")
                return received

    def talk() -> bytes:
        with socket(family) as connection:
            add_key(connection, here, algorithm, 2, 1, options=options, bits=0)
            connection.connect((here, 179))
            connection.sendall(PAYLOAD[:size])
            return connection.recv(100)

    with two_hosts(offload=offload) as (_, server, client):
        serving = server.run(serve)
        assert client.run(talk).result() == b"thanks"
        assert serving.result() == PAYLOAD[:size]


def test_keys_are_changed_while_data_flow() -> None:
    def serve() -> list[int]:
        with socket() as listener:
            add_key(listener, CLIENT, "hmac(sha1)", 1, 1, options=True, bits=3)
            add_key(listener, CLIENT, "hmac(sha1)", 2, 2, options=True, bits=0)
            listener.bind((SERVER, 179))
            listener.listen()
            connection, _ = listener.accept()
            with connection:
                ids = []
                while connection.recv(100):
                    ids.append(connection.getsockopt(stdlib.IPPROTO_TCP, 40, 48)[6])
                    connection.sendall(b"pong")
                return ids

    def talk() -> None:
        with socket() as connection:
            add_key(connection, SERVER, "hmac(sha1)", 1, 1, options=True, bits=3)
            add_key(connection, SERVER, "hmac(sha1)", 2, 2, options=True, bits=0)
            connection.connect((SERVER, 179))
            for turn in range(3):
                if turn == 1:
                    connection.setsockopt(stdlib.IPPROTO_TCP, 40, struct.pack("=IHBB5Q", 3, 0, 2, 2, 0, 0, 0, 0, 0))
                connection.sendall(b"ping")
                assert connection.recv(100) == b"pong"

    with two_hosts() as (_, server, client):
        serving = server.run(serve)
        client.run(talk).result()
        assert serving.result() == [1, 2, 2]


def test_without_the_key_nobody_answers() -> None:
    def serve() -> None:
        with socket() as listener:
            add_key(listener, CLIENT, "hmac(sha1)", 1, 2, options=True, bits=0)
            listener.bind((SERVER, 179))
            listener.listen()
            listener.settimeout(30)
            with pytest.raises(TimeoutError):
                listener.accept()

    def talk() -> None:
        with socket() as connection:
            connection.settimeout(20)
            with pytest.raises(TimeoutError):
                connection.connect((SERVER, 179))

    with two_hosts() as (_, server, client):
        serving = server.run(serve)
        client.run(talk).result()
        serving.result()


@pytest.mark.parametrize(
    ("start", "sequence_numbers", "expected"),
    [
        (10, [10, 1 << 31, 0xFFFFFFF0, 5, 0xFFFFFFFF, 6], [0, 0, 0, 1, 0, 1]),
        (0xFFFFFFFE, [0xFFFFFFFE, 3, 0xFFFFFFFF], [0, 1, 0]),
        (10, [10, 9], [0, 0]),
    ],
)
def test_the_extension_follows_the_sequence_numbers_round(
    start: int, sequence_numbers: list[int], expected: list[int]
) -> None:
    extension = Extension(start)
    found = []
    for number in sequence_numbers:
        found.append(extension.of(number))
        extension.reach(number)
    assert found == expected
