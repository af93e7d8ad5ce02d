"""`Packet`: one whole datagram on its way up, from IP to the transports."""

from __future__ import annotations

from dataclasses import dataclass

from ustack.ip.interface import Interface


@dataclass(slots=True, eq=False)
class Packet:
    """A datagram for this host, checked and whole.  Its views are valid until the frame's burst is cleared.

    For a reassembled one, `header` is the first fragment's as if the datagram had come in one piece, and the views
    are its own.
    """

    interface: Interface
    version: int
    source: bytes
    destination: bytes
    protocol: int
    ttl: int
    traffic_class: int
    flow_label: int
    header: memoryview
    """The IP header with its options or extension headers."""
    payload: memoryview
    """The transport's header and data."""
    unicast: bool
    """Whether `destination` is one host's: False for broadcast and multicast."""
    trusted: bool = False
    """Whether the device vouches for the transport's checksum."""
    gso_size: int = 0
    """Payload bytes of each segment of a super-segment, else 0."""
    reassembled: bool = False
    options: bytes = b""
    """IPv4 options with their padding."""
