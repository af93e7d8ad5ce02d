"""UDP: RFC 768, RFC 1122 §4.1, RFC 8200 §8.1; sockets as in udp(7).

`protocol` is the way of a datagram to its sockets, `endpoint` the socket with the user's calls, `flow_cache` what the
fast path knows of both.
"""

from ustack.udp.endpoint import UdpEndpoint
from ustack.udp.protocol import UdpProtocol

__all__ = ["UdpEndpoint", "UdpProtocol"]
