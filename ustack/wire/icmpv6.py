"""ICMP for IPv6.  RFC 4443.

    0                   1                   2                   3
    |     Type      |     Code      |           Checksum            |
    |                 Rest of the header, by type                   |
    |                            Body                               |

The rest is also of RFC 4884 (length of the quote).  Of RFC 4861 (neighbour discovery) only the types are here; MLD is
in `mld`.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from ustack.constants import IPPROTO_ICMPV6
from ustack.drops import Drop, DropReason
from ustack.wire import Buffer, ipv6
from ustack.wire.checksum import SUM_OF_VALID_DATA, internet_checksum, pseudo_header_sum, sum_words

HEADER_LENGTH = 8
CHECKSUM_OFFSET = 2
MAXIMUM_QUOTE_LENGTH = ipv6.MINIMUM_MTU - ipv6.HEADER_LENGTH - HEADER_LENGTH
"""Bytes of the packet in error that fit a message of the minimum MTU.  RFC 4443 §2.4 (c)."""

LEAST_QUOTE_BEFORE_EXTENSIONS = 128

_HEADER = struct.Struct("!BBH4s")
_TWO_WORDS = struct.Struct("!HH")
_NO_REST = bytes(4)


class Icmpv6Type(enum.IntEnum):
    """Message types; those below 128 are errors (RFC 4443 §2.1)."""

    DESTINATION_UNREACHABLE = 1
    PACKET_TOO_BIG = 2
    TIME_EXCEEDED = 3
    PARAMETER_PROBLEM = 4
    ECHO_REQUEST = 128
    ECHO_REPLY = 129
    MULTICAST_LISTENER_QUERY = 130
    MULTICAST_LISTENER_REPORT = 131
    MULTICAST_LISTENER_DONE = 132
    ROUTER_SOLICITATION = 133
    ROUTER_ADVERTISEMENT = 134
    NEIGHBOR_SOLICITATION = 135
    NEIGHBOR_ADVERTISEMENT = 136
    REDIRECT = 137
    MULTICAST_LISTENER_REPORT_V2 = 143


class UnreachableCode(enum.IntEnum):
    """Codes of destination unreachable.  RFC 4443 §3.1."""

    NO_ROUTE = 0
    PROHIBITED = 1
    BEYOND_SCOPE = 2
    ADDRESS = 3
    PORT = 4
    SOURCE_POLICY = 5
    REJECT_ROUTE = 6
    SOURCE_ROUTING_HEADER = 7


class TimeExceededCode(enum.IntEnum):
    """Codes of time exceeded.  RFC 4443 §3.3."""

    IN_TRANSIT = 0
    REASSEMBLY = 1


class ParameterProblemCode(enum.IntEnum):
    """Codes of parameter problem.  RFC 4443 §3.4, RFC 7112 §5."""

    ERRONEOUS_HEADER = 0
    UNRECOGNIZED_NEXT_HEADER = 1
    UNRECOGNIZED_OPTION = 2
    INCOMPLETE_HEADER_CHAIN = 3


_LENGTH_TYPES = frozenset((1, 3))


@dataclass(slots=True)
class IcmpMessage:
    """An ICMPv6 message: `rest` is the header's second word, `body` what follows it."""

    type: int
    code: int
    checksum: int
    rest: bytes
    body: memoryview

    @property
    def is_error(self) -> bool:
        """Whether it reports on a packet, which `quoted_packet` holds the start of.  RFC 4443 §2.1."""
        return self.type < 128

    @property
    def identifier(self) -> int:
        """Of echo messages."""
        return self.rest[0] << 8 | self.rest[1]

    @property
    def sequence_number(self) -> int:
        """Of echo messages."""
        return self.rest[2] << 8 | self.rest[3]

    @property
    def mtu(self) -> int:
        """Of packet too big: the next hop's MTU."""
        return int.from_bytes(self.rest, "big")

    @property
    def pointer(self) -> int:
        """Of a parameter problem: where in the quoted packet it lies, perhaps beyond what is quoted."""
        return int.from_bytes(self.rest, "big")

    @property
    def quoted_packet(self) -> memoryview:
        """The start of the packet that an error is about, without the extensions after it.

        Extensions come with a length of the quote of at least 128 bytes (RFC 4884 §3); another is taken for none.
        """
        length = self.rest[0] * 8 if self.type in _LENGTH_TYPES else 0
        return self.body[:length] if length >= LEAST_QUOTE_BEFORE_EXTENSIONS else self.body


def parse(message: Buffer, source: bytes, destination: bytes) -> IcmpMessage:
    """A message whose checksum is right between these addresses; any type and code.  RFC 4443 §2.3."""
    parsed = parse_quoted(message)
    pseudo = pseudo_header_sum(source, destination, IPPROTO_ICMPV6, len(message))
    if sum_words(message, pseudo) != SUM_OF_VALID_DATA:
        raise Drop(DropReason.ICMP_CHECKSUM, f"checksum 0x{parsed.checksum:04x}")
    return parsed


def parse_quoted(message: Buffer) -> IcmpMessage:
    """A message that an ICMP error quotes: it may be cut, so the checksum is not checked."""
    if len(message) < HEADER_LENGTH:
        raise Drop(DropReason.ICMP_TRUNCATED, f"{len(message)} bytes")
    message_type, code, checksum, rest = _HEADER.unpack_from(message)
    return IcmpMessage(message_type, code, checksum, rest, memoryview(message)[HEADER_LENGTH:])


def build(
    source: bytes, destination: bytes, message_type: int, code: int, rest: bytes = _NO_REST, body: Buffer = b""
) -> bytes:
    """A whole message with its checksum."""
    start = _HEADER.pack(message_type, code, 0, rest)
    pseudo = pseudo_header_sum(source, destination, IPPROTO_ICMPV6, HEADER_LENGTH + len(body))
    checksum = internet_checksum(body, sum_words(start, pseudo))
    return b"".join((_HEADER.pack(message_type, code, checksum, rest), body))


def build_echo_request(
    source: bytes, destination: bytes, identifier: int, sequence_number: int, data: Buffer = b""
) -> bytes:
    """A whole echo request.  RFC 4443 §4.1."""
    rest = _TWO_WORDS.pack(identifier, sequence_number)
    return build(source, destination, Icmpv6Type.ECHO_REQUEST, 0, rest, data)


def build_echo_reply(
    source: bytes, destination: bytes, identifier: int, sequence_number: int, data: Buffer = b""
) -> bytes:
    """A whole echo reply; the last three are the request's.  RFC 4443 §4.2."""
    rest = _TWO_WORDS.pack(identifier, sequence_number)
    return build(source, destination, Icmpv6Type.ECHO_REPLY, 0, rest, data)


def build_error(
    source: bytes, destination: bytes, message_type: int, code: int, packet: Buffer, parameter: int = 0
) -> bytes:
    """An error about `packet`, of which as much is quoted as fits.

    `parameter` is the MTU of packet too big, the pointer of a parameter problem, else 0.
    """
    rest = parameter.to_bytes(4, "big")
    return build(source, destination, message_type, code, rest, packet[:MAXIMUM_QUOTE_LENGTH])
