"""Raw sockets: raw(7), ipv6(7), RFC 3542.

`protocol` is the way of a packet to its sockets, `endpoint` the socket with the user's calls, `header_included` what
IP_HDRINCL and IPV6_HDRINCL fill in.
"""

from ustack.raw.endpoint import RawEndpoint
from ustack.raw.protocol import RawProtocol

__all__ = ["RawEndpoint", "RawProtocol"]
