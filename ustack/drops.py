"""Why packets end before they reach a socket: `DropReason`, the exception `Drop`, and the counters.

Every packet that is discarded has one reason, and every reason cites the clause that asks for it.  A `Drop` is raised
at the place of the decision and caught in one place, `Stack.receive`.  It is never shown to a user of sockets.
"""

from __future__ import annotations

import enum
from collections import Counter


class DropReason(enum.Enum):
    """A reason to discard a packet; the value is (what happened, the clause that says so)."""

    # Every floor: the frame itself.
    TRUNCATED = ("packet is shorter than its headers say", "RFC 1122 §3.2.1.1")
    NOT_IP = ("version is neither 4 nor 6", "RFC 1122 §3.2.1.1")
    INTERFACE_DOWN = ("interface is down", "RFC 1122 §3.3.1")
    # IPv4 and IPv6 input.
    IP_HEADER_LENGTH = ("IPv4 header length is under 20 bytes or over the packet", "RFC 791 §3.1")
    IP_TOTAL_LENGTH = ("IP total or payload length does not fit the packet", "RFC 1122 §3.2.1.1")
    IP_CHECKSUM = ("IPv4 header checksum is wrong", "RFC 1122 §3.2.1.2")
    IP_OPTION = ("IPv4 option is malformed", "RFC 1122 §3.2.1.8")
    IP_SOURCE_ROUTE = ("packet is source routed", "RFC 7126 §4.3-4.4")
    MARTIAN_SOURCE = ("source address cannot be a source", "RFC 1122 §3.2.1.3")
    MARTIAN_DESTINATION = ("destination address cannot come from this interface", "RFC 1122 §3.2.1.3")
    NOT_FOR_US = ("destination is no address of this host, and it does not forward", "RFC 1122 §3.3.1")
    UNKNOWN_PROTOCOL = ("no handler for the IP protocol", "RFC 1122 §3.2.2.1")
    IPV6_EXTENSION = ("IPv6 extension header is malformed or out of order", "RFC 8200 §4.1")
    IPV6_OPTION_DISCARD = ("unknown IPv6 option asks to discard the packet", "RFC 8200 §4.2")
    IPV6_OPTION_REPORT = ("unknown IPv6 option asks to discard and report", "RFC 8200 §4.2")
    IPV6_ROUTING_HEADER = ("unknown routing header with segments left", "RFC 8200 §4.4")
    IPV6_ROUTING_TYPE_0 = ("type 0 routing header", "RFC 5095 §3")
    IPV6_TOO_MANY_EXTENSIONS = ("more extension headers or options than the configured limit", "RFC 8504 §5.3")
    # Reassembly.
    FRAGMENT_LENGTH = ("fragment's length is no multiple of 8 and it is not the last", "RFC 8200 §4.5")
    FRAGMENT_TOO_BIG = ("fragment ends beyond 65535 bytes", "RFC 791 §3.2")
    FRAGMENT_OVERLAP = ("fragments overlap", "RFC 5722 §4")
    FRAGMENT_DUPLICATE = ("fragment is here already, byte for byte", "RFC 8200 §4.5")
    FRAGMENT_ECN = ("fragments disagree on whether the transport is ECN-capable", "RFC 3168 §5.3")
    FRAGMENT_LIMIT_DATAGRAM = ("too many fragments of one datagram", "RFC 8900 §3.7")
    FRAGMENT_LIMIT_SOURCE = ("too many fragments held for this source", "RFC 8900 §3.7")
    FRAGMENT_LIMIT_TOTAL = ("too many fragments held in total", "RFC 8900 §3.7")
    FRAGMENT_TIMEOUT = ("reassembly time exceeded", "RFC 1122 §3.3.2")
    FRAGMENT_HEADER_CHAIN = ("first fragment does not hold the whole header chain", "RFC 7112 §5")
    # ICMP.
    ICMP_TRUNCATED = ("ICMP message is too short", "RFC 792")
    ICMP_CHECKSUM = ("ICMP checksum is wrong", "RFC 792, RFC 4443 §2.3")
    ICMP_UNKNOWN_TYPE = ("ICMP message type is unknown", "RFC 1122 §3.2.2, RFC 4443 §2.4")
    ICMP_QUOTE = ("ICMP error quotes no packet that we sent", "RFC 5927 §4.1")
    ICMP_SOURCE_QUENCH = ("source quench is deprecated", "RFC 6633 §3")
    ICMP_NOT_OFFERED = (
        "ICMP message asks for a service that this host does not offer",
        "RFC 1122 §3.2.2.2-9, RFC 4861",
    )
    ICMP_MTU = ("packet too big reports an MTU under IPv6's minimum", "RFC 8201 §4")
    ICMP_BROADCAST_ECHO = ("echo request to a broadcast or multicast address", "RFC 1122 §3.2.2.6")
    # Group management.
    IGMP_MALFORMED = ("IGMP message has a length or count that does not fit", "RFC 3376 §4, §7.1")
    IGMP_CHECKSUM = ("IGMP checksum is wrong", "RFC 3376 §4.1.2")
    IGMP_UNKNOWN_TYPE = ("IGMP message type is unknown", "RFC 3376 §4")
    MLD_MALFORMED = ("MLD message has a length or count that does not fit", "RFC 3810 §5, §8.1")
    # UDP.
    UDP_LENGTH = ("UDP length does not fit the packet", "RFC 768")
    UDP_CHECKSUM = ("UDP checksum is wrong", "RFC 768, RFC 1122 §4.1.3.4")
    UDP_NO_CHECKSUM = ("IPv6 datagram with UDP checksum zero", "RFC 8200 §8.1")
    UDP_NO_PORT = ("no socket is bound to the destination port", "RFC 1122 §4.1.3.1")
    UDP_QUEUE_FULL = ("receive queue of the socket is full", "udp(7)")
    # Raw sockets.
    RAW_CHECKSUM = ("checksum of a raw IPv6 socket's packet is wrong", "RFC 3542 §3.1")
    RAW_QUEUE_FULL = ("receive queue of the raw socket is full", "raw(7)")
    # TCP.
    TCP_HEADER_LENGTH = ("TCP data offset is under 20 bytes or over the segment", "RFC 9293 §3.1")
    TCP_CHECKSUM = ("TCP checksum is wrong", "RFC 9293 §3.1 (MUST-3)")
    TCP_OPTION_LENGTH = ("TCP option has an illegal length", "RFC 9293 §3.2 (MUST-7)")
    TCP_PORT_ZERO = ("TCP port zero", "RFC 6335 §6")
    TCP_BAD_ADDRESS = ("segment from or to a broadcast or multicast address", "RFC 9293 §3.9.2.3 (MUST-57, MUST-63)")
    TCP_NO_CONNECTION = ("no connection or listener: answered with RST", "RFC 9293 §3.10.7.1")
    TCP_RST_WITHOUT_CONNECTION = ("RST for no connection", "RFC 9293 §3.10.7.1")
    TCP_LISTEN_RST = ("RST for a listener", "RFC 9293 §3.10.7.2")
    TCP_LISTEN_ACK = ("ACK for a listener: answered with RST", "RFC 9293 §3.10.7.2")
    TCP_LISTEN_NO_SYN = ("segment without SYN for a listener", "RFC 9293 §3.10.7.2")
    TCP_LISTEN_SYN_FIN = ("SYN with FIN for a listener", "RFC 9293 §3.10.7.2")
    TCP_BACKLOG_FULL = ("queue of the listener is full", "listen(2)")
    TCP_SIGNATURE_MISSING = ("segment is not signed, and must be", "RFC 2385 §2.0, RFC 5925 §7.5")
    TCP_SIGNATURE_WRONG = ("segment's signature is wrong, or made with an unknown key", "RFC 2385 §2.0, RFC 5925 §7.5")
    TCP_SIGNATURE_UNEXPECTED = ("segment is signed, and we have no key for its sender", "RFC 2385 §2.0, RFC 5925 §7.5")
    TCP_DEFERRED = ("ACK of a SYN without data, which the listener waits for", "tcp(7), TCP_DEFER_ACCEPT")
    TCP_SYN_SENT_BAD_ACK = ("acknowledgment of something not sent", "RFC 9293 §3.10.7.3")
    TCP_SYN_SENT_RST = ("RST without acceptable ACK in SYN-SENT", "RFC 9293 §3.10.7.3")
    TCP_SYN_SENT_NO_SYN = ("neither SYN nor RST in SYN-SENT", "RFC 9293 §3.10.7.3")
    TCP_OUT_OF_WINDOW = ("segment is outside the receive window", "RFC 9293 §3.10.7.4, first check")
    TCP_PAWS = ("timestamp is older than the last one", "RFC 7323 §5.3")
    TCP_PAWS_OLD_ACK = ("ACK from before, by its timestamp", "RFC 7323 §5.3")
    TCP_RST_NOT_EXACT = ("RST in window but not at RCV.NXT: challenged", "RFC 5961 §3.2")
    TCP_RST_OUT_OF_WINDOW = ("RST outside the receive window", "RFC 9293 §3.10.7.4, second check")
    TCP_SYN_IN_WINDOW = ("SYN on a synchronized connection: challenged", "RFC 5961 §4.2")
    TCP_NO_ACK_FLAG = ("segment without ACK", "RFC 9293 §3.10.7.4, fifth check")
    TCP_ACK_UNSENT = ("acknowledgment of something not yet sent", "RFC 9293 §3.10.7.4, fifth check")
    TCP_ACK_TOO_OLD = ("acknowledgment is too old: possible injection, challenged", "RFC 5961 §5.2")
    TCP_SYN_RECEIVED_BAD_ACK = ("bad ACK in SYN-RECEIVED: answered with RST", "RFC 9293 §3.10.7.4, fifth check")
    TCP_DATA_AFTER_CLOSE = ("data for a socket that was closed: answered with RST", "RFC 9293 §3.10.7.4 (SHLD-3)")
    TCP_BEYOND_WINDOW = ("segment ends beyond the receive window", "RFC 9293 §3.10.7.4, first check")
    TCP_OUT_OF_ORDER_LIMIT = ("no memory for data out of order", "RFC 9293 §3.10.7.4, seventh check")
    TCP_NO_MEMORY = ("no memory for data in order: the window is closed", "RFC 9293 §3.8.6.2.2")
    TCP_NO_RETURN_ROUTE = ("SYN from where no route leads back to", "RFC 1122 §3.3.1")
    TCP_RESET = ("RST at RCV.NXT: the connection is reset", "RFC 9293 §3.10.7.4, second check")
    TCP_TIME_WAIT = ("segment for a connection in TIME-WAIT", "RFC 9293 §3.10.7.4")

    @property
    def what(self) -> str:
        """What happened, as a phrase."""
        return self.value[0]

    @property
    def clause(self) -> str:
        """The document and section that ask for this drop."""
        return self.value[1]


class Drop(Exception):
    """The packet ends here, for `reason`; `detail` may add numbers for a person who reads the trace."""

    def __init__(self, reason: DropReason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        text = f"{self.reason.name}: {self.reason.what} ({self.reason.clause})"
        return f"{text}: {self.detail}" if self.detail else text


class ParameterProblem(Drop):
    """A drop of which the source should hear by ICMP Parameter Problem: RFC 1122 §3.2.2.5, RFC 4443 §3.4.

    `code` and `pointer` are the message's; the pointer counts from the start of the IP header.  `unless_multicast` is
    False only where RFC 4443 §2.4 (e.3) allows the report on a packet to a multicast address too.
    """

    def __init__(
        self, reason: DropReason, code: int, pointer: int, detail: str = "", *, unless_multicast: bool = True
    ) -> None:
        super().__init__(reason, detail)
        self.code = code
        self.pointer = pointer
        self.unless_multicast = unless_multicast


class DropCounters(Counter[DropReason]):
    """How many packets each reason has ended."""
