"""Captures in pcapng, with nanoseconds and each packet's verdict as its comment, as Wireshark and tshark read them.

The format is draft-ietf-opsawg-pcapng: a section header, a description of each interface when its first packet comes,
and an enhanced packet block for each packet.  Blocks are little-endian on every machine, so that the same packets at
the same times give the same bytes.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ustack.trace import Verdict

_SECTION_HEADER = 0x0A0D0D0A
_INTERFACE_DESCRIPTION = 1
_ENHANCED_PACKET = 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_LINKTYPE_RAW = 101

_OPTION_END = 0
_OPTION_COMMENT = 1
_SECTION_USER_APPLICATION = 4
_INTERFACE_NAME = 2
_INTERFACE_RESOLUTION = 9
_PACKET_FLAGS = 2
_NANOSECONDS = b"\x09"
_INBOUND, _OUTBOUND = 1, 2
_OPTION_LENGTH_MAX = 0xFFFF

_BLOCK_START = struct.Struct("<II")
_BLOCK_END = struct.Struct("<I")
_OPTION = struct.Struct("<HH")
_SECTION = struct.Struct("<IHHq")
_INTERFACE = struct.Struct("<HHI")
_PACKET = struct.Struct("<IIIII")


class PcapngWriter:
    """Writes a capture to a binary stream; a `Tracer` and a `Capture`.

    `epoch_ns` is added to every time: the wall clock's nanoseconds when the stack's clock was 0; with 0 the capture
    begins in 1970, and is the same for every run in virtual time.  The stream stays the caller's.  Threads may share a
    writer.
    """

    def __init__(self, stream: BinaryIO, epoch_ns: int = 0) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._epoch_ns = epoch_ns
        self._interfaces: dict[str, int] = {}
        section = _SECTION.pack(_BYTE_ORDER_MAGIC, 1, 0, -1)
        self._write_block(_SECTION_HEADER, section + _options((_SECTION_USER_APPLICATION, b"ustack")))

    def record(self, verdict: Verdict) -> None:
        """Write a packet with what became of it as its comment."""
        self.packet(verdict.now, verdict.interface, verdict.outbound, verdict.packet, _comment(verdict))

    def packet(self, now: int, interface: str, outbound: bool, packet: bytes, comment: str = "") -> None:
        """Write a packet, with a comment or without."""
        time = self._epoch_ns + now
        comments = [(_OPTION_COMMENT, _text(comment))] if comment else []
        flags = (_PACKET_FLAGS, struct.pack("<I", _OUTBOUND if outbound else _INBOUND))
        body = _padded(packet) + _options(*comments, flags)
        with self._lock:
            index = self._interface(interface)
            head = _PACKET.pack(index, time >> 32 & 0xFFFFFFFF, time & 0xFFFFFFFF, len(packet), len(packet))
            self._write_block(_ENHANCED_PACKET, head + body)

    def _interface(self, name: str) -> int:
        """The index of an interface, which is described when it is first seen."""
        index = self._interfaces.get(name)
        if index is None:
            index = self._interfaces[name] = len(self._interfaces)
            options = _options((_INTERFACE_NAME, _text(name)), (_INTERFACE_RESOLUTION, _NANOSECONDS))
            self._write_block(_INTERFACE_DESCRIPTION, _INTERFACE.pack(_LINKTYPE_RAW, 0, 0) + options)
        return index

    def _write_block(self, kind: int, body: bytes) -> None:
        length = _BLOCK_START.size + len(body) + _BLOCK_END.size
        self._stream.write(_BLOCK_START.pack(kind, length) + body + _BLOCK_END.pack(length))


def _comment(verdict: Verdict) -> str:
    """A verdict in words."""
    if verdict.drop is None:
        return verdict.comment
    drop = f"dropped, {verdict.drop.name}: {verdict.drop.what} ({verdict.drop.clause})"
    return f"{drop}: {verdict.comment}" if verdict.comment else drop


def _text(text: str) -> bytes:
    """UTF-8, cut at a whole character where an option could not hold it."""
    return text.encode()[:_OPTION_LENGTH_MAX].decode(errors="ignore").encode()


def _options(*options: tuple[int, bytes]) -> bytes:
    parts = [_OPTION.pack(code, len(value)) + _padded(value) for code, value in options]
    return b"".join(parts) + _OPTION.pack(_OPTION_END, 0)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


@dataclass(slots=True)
class CapturedPacket:
    """A packet of a capture."""

    time_ns: int
    interface: str
    outbound: bool
    packet: bytes
    comment: str


def read_capture(stream: BinaryIO) -> Iterator[CapturedPacket]:
    """The packets of a capture that `PcapngWriter` has written.  Raises ValueError for anything else."""
    interfaces: list[str] = []
    try:
        for kind, body in _read_blocks(stream):
            if kind == _INTERFACE_DESCRIPTION:
                interfaces.append(_read_options(body[_INTERFACE.size :])[_INTERFACE_NAME].decode())
            elif kind == _ENHANCED_PACKET:
                yield _read_packet(body, interfaces)
    except (struct.error, IndexError, KeyError) as failure:
        raise ValueError("not a capture of ours") from failure


def _read_blocks(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    while start := stream.read(_BLOCK_START.size):
        kind, length = _BLOCK_START.unpack(start)
        rest = stream.read(max(0, length - _BLOCK_START.size))
        if _BLOCK_END.unpack(rest[-_BLOCK_END.size :]) != (length,):
            raise ValueError("a pcapng block is cut short")
        yield kind, rest[: -_BLOCK_END.size]


def _read_packet(body: bytes, interfaces: list[str]) -> CapturedPacket:
    index, high, low, length, _ = _PACKET.unpack_from(body)
    end = _PACKET.size + length
    options = _read_options(body[end + -length % 4 :])
    (flags,) = struct.unpack("<I", options[_PACKET_FLAGS])
    return CapturedPacket(
        time_ns=high << 32 | low,
        interface=interfaces[index],
        outbound=flags & 3 == _OUTBOUND,
        packet=body[_PACKET.size : end],
        comment=options.get(_OPTION_COMMENT, b"").decode(),
    )


def _read_options(data: bytes) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    while data:
        code, length = _OPTION.unpack_from(data)
        if code == _OPTION_END:
            break
        options[code] = data[_OPTION.size : _OPTION.size + length]
        data = data[_OPTION.size + length + -length % 4 :]
    return options
