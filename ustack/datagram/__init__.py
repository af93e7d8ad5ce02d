"""What UDP and raw sockets have in common: a bounded queue of datagrams, pending errors, control messages, and sending.

`DatagramEndpoint` is the socket, `DatagramProtocol` the protocol that has many of them; `ustack.udp` and `ustack.raw`
make both complete.  What is here must not know of ports or of IP protocol numbers.
"""

from ustack.datagram.endpoint import DatagramEndpoint
from ustack.datagram.protocol import DatagramProtocol

__all__ = ["DatagramEndpoint", "DatagramProtocol"]
