"""ICMP for IPv4.  RFC 792, RFC 1122 §3.2.2.

    0                   1                   2                   3
    |     Type      |     Code      |           Checksum            |
    |                 Rest of the header, by type                   |
    |                            Body                               |

The rest is also of RFC 1191 (next-hop MTU) and RFC 4884 (length of the quote); RFC 6918 says which types are no more.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from ustack.drops import Drop, DropReason
from ustack.wire import Buffer
from ustack.wire.checksum import SUM_OF_VALID_DATA, internet_checksum, sum_words

HEADER_LENGTH = 8
CHECKSUM_OFFSET = 2
MAXIMUM_QUOTE_LENGTH = 576 - 20 - HEADER_LENGTH
"""Bytes of the packet in error that fit a 576-byte message without IP options.  RFC 1812 §4.3.2.3."""

LEAST_QUOTE_BEFORE_EXTENSIONS = 128

_HEADER = struct.Struct("!BBH4s")
_TWO_WORDS = struct.Struct("!HH")
_NO_REST = bytes(4)


class IcmpType(enum.IntEnum):
    """Message types that are not deprecated, and source quench (RFC 6633), which is still seen."""

    ECHO_REPLY = 0
    DESTINATION_UNREACHABLE = 3
    SOURCE_QUENCH = 4
    REDIRECT = 5
    ECHO_REQUEST = 8
    ROUTER_ADVERTISEMENT = 9
    ROUTER_SOLICITATION = 10
    TIME_EXCEEDED = 11
    PARAMETER_PROBLEM = 12
    TIMESTAMP = 13
    TIMESTAMP_REPLY = 14
    EXTENDED_ECHO_REQUEST = 42
    EXTENDED_ECHO_REPLY = 43


class UnreachableCode(enum.IntEnum):
    """Codes of destination unreachable.  RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1."""

    NET = 0
    HOST = 1
    PROTOCOL = 2
    PORT = 3
    FRAGMENTATION_NEEDED = 4
    SOURCE_ROUTE_FAILED = 5
    NET_UNKNOWN = 6
    HOST_UNKNOWN = 7
    SOURCE_HOST_ISOLATED = 8
    NET_PROHIBITED = 9
    HOST_PROHIBITED = 10
    NET_TYPE_OF_SERVICE = 11
    HOST_TYPE_OF_SERVICE = 12
    COMMUNICATION_PROHIBITED = 13
    HOST_PRECEDENCE_VIOLATION = 14
    PRECEDENCE_CUTOFF = 15


class RedirectCode(enum.IntEnum):
    """Codes of redirect.  RFC 792."""

    NET = 0
    HOST = 1
    TYPE_OF_SERVICE_AND_NET = 2
    TYPE_OF_SERVICE_AND_HOST = 3


class TimeExceededCode(enum.IntEnum):
    """Codes of time exceeded.  RFC 792."""

    IN_TRANSIT = 0
    REASSEMBLY = 1


class ParameterProblemCode(enum.IntEnum):
    """Codes of parameter problem.  RFC 792, RFC 1122 §3.2.2.5, RFC 1108."""

    POINTER = 0
    REQUIRED_OPTION_MISSING = 1
    BAD_LENGTH = 2


ERROR_TYPES = frozenset((3, 4, 5, 11, 12))
"""Types that quote a packet: nothing is ever reported about these.  RFC 1122 §3.2.2."""
_LENGTH_TYPES = frozenset((3, 11, 12))


@dataclass(slots=True)
class IcmpMessage:
    """An ICMP message: `rest` is the header's second word, `body` what follows it."""

    type: int
    code: int
    checksum: int
    rest: bytes
    body: memoryview

    @property
    def is_error(self) -> bool:
        """Whether it reports on a packet, which `quoted_packet` holds the start of."""
        return self.type in ERROR_TYPES

    @property
    def identifier(self) -> int:
        """Of echo and timestamp messages."""
        return self.rest[0] << 8 | self.rest[1]

    @property
    def sequence_number(self) -> int:
        """Of echo and timestamp messages."""
        return self.rest[2] << 8 | self.rest[3]

    @property
    def mtu(self) -> int:
        """Next-hop MTU of "fragmentation needed"; 0 from routers older than RFC 1191 §4."""
        return self.rest[2] << 8 | self.rest[3]

    @property
    def pointer(self) -> int:
        """Of a parameter problem: where in the quoted packet it lies."""
        return self.rest[0]

    @property
    def gateway(self) -> bytes:
        """Of a redirect: the address to use."""
        return self.rest

    @property
    def quoted_packet(self) -> memoryview:
        """The start of the packet that an error is about, without the extensions after it.

        Extensions come with a length of the quote of at least 128 bytes (RFC 4884 §3); another is taken for none.
        """
        length = self.rest[1] * 4 if self.type in _LENGTH_TYPES else 0
        return self.body[:length] if length >= LEAST_QUOTE_BEFORE_EXTENSIONS else self.body


def parse(message: Buffer) -> IcmpMessage:
    """A message whose checksum is right; any type and code."""
    parsed = parse_quoted(message)
    if sum_words(message) != SUM_OF_VALID_DATA:
        raise Drop(DropReason.ICMP_CHECKSUM, f"checksum 0x{parsed.checksum:04x}")
    return parsed


def parse_quoted(message: Buffer) -> IcmpMessage:
    """A message that an ICMP error quotes: it may be cut, so the checksum is not checked."""
    if len(message) < HEADER_LENGTH:
        raise Drop(DropReason.ICMP_TRUNCATED, f"{len(message)} bytes")
    message_type, code, checksum, rest = _HEADER.unpack_from(message)
    return IcmpMessage(message_type, code, checksum, rest, memoryview(message)[HEADER_LENGTH:])


def build(message_type: int, code: int, rest: bytes = _NO_REST, body: Buffer = b"") -> bytes:
    """A whole message with its checksum."""
    start = _HEADER.pack(message_type, code, 0, rest)
    checksum = internet_checksum(body, sum_words(start))
    return b"".join((_HEADER.pack(message_type, code, checksum, rest), body))


def build_echo_request(identifier: int, sequence_number: int, data: Buffer = b"") -> bytes:
    """A whole echo request."""
    return build(IcmpType.ECHO_REQUEST, 0, _TWO_WORDS.pack(identifier, sequence_number), data)


def build_echo_reply(identifier: int, sequence_number: int, data: Buffer = b"") -> bytes:
    """A whole echo reply; the three fields are the request's (RFC 1122 §3.2.2.6)."""
    return build(IcmpType.ECHO_REPLY, 0, _TWO_WORDS.pack(identifier, sequence_number), data)


def build_destination_unreachable(code: int, packet: Buffer, mtu: int = 0) -> bytes:
    """About `packet`, of which as much is quoted as fits; `mtu` with FRAGMENTATION_NEEDED only (RFC 1191 §4)."""
    return build(IcmpType.DESTINATION_UNREACHABLE, code, _TWO_WORDS.pack(0, mtu), packet[:MAXIMUM_QUOTE_LENGTH])


def build_time_exceeded(code: int, packet: Buffer) -> bytes:
    """About `packet`, of which as much is quoted as fits."""
    return build(IcmpType.TIME_EXCEEDED, code, _NO_REST, packet[:MAXIMUM_QUOTE_LENGTH])


def build_parameter_problem(code: int, pointer: int, packet: Buffer) -> bytes:
    """About the byte at `pointer` of `packet`, of which as much is quoted as fits."""
    return build(IcmpType.PARAMETER_PROBLEM, code, bytes((pointer, 0, 0, 0)), packet[:MAXIMUM_QUOTE_LENGTH])
