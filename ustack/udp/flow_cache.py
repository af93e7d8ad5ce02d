"""`FlowCache`: the UDP flows that the fast path delivers by itself.

A flow is entered when Python has found the socket for one of its datagrams, and taken out as soon as another socket
could win the next one.  So the table of flows never says anything that the port table would not say.
"""

from __future__ import annotations

from ustack.constants import IPPROTO_UDP
from ustack.datagram import DatagramEndpoint
from ustack.flow import FlowTable
from ustack.native import lib

FlowKey = tuple[bytes, int, bytes, int]
"""Local address and port, remote address and port."""


class FlowCache:
    """Flows of UDP sockets in the stack's `FlowTable`, at most `limit` of one socket: the oldest makes room."""

    def __init__(self, flows: FlowTable, limit: int) -> None:
        self._flows = flows
        self._limit = limit
        self._by_endpoint: dict[DatagramEndpoint, dict[FlowKey, None]] = {}
        self._unconnected: dict[int, dict[FlowKey, DatagramEndpoint]] = {}
        """By local port, the flows whose owner a bind or close on that port could change."""

    def __len__(self) -> int:
        return sum(map(len, self._by_endpoint.values()))

    def add(self, endpoint: DatagramEndpoint, key: FlowKey) -> None:
        """`endpoint` gets the datagrams of this flow."""
        keys = self._by_endpoint.get(endpoint)
        if keys is None:
            keys = self._by_endpoint[endpoint] = {}
            endpoint.queue.cdata.handle = self._flows.handle_of(endpoint)
        if key in keys:
            return
        if len(keys) >= self._limit:
            self._remove(endpoint, next(iter(keys)))
        self._flows.insert(IPPROTO_UDP, *key, endpoint, lib.FLOW_UDP, endpoint.queue.cdata)
        keys[key] = None
        if endpoint.remote_address is None:
            self._unconnected.setdefault(key[1], {})[key] = endpoint

    def drop_flow(self, key: FlowKey) -> None:
        """Another socket may be the owner of this flow now."""
        owner = self._flows.find(IPPROTO_UDP, *key)
        if isinstance(owner, DatagramEndpoint):
            self._remove(owner, key)

    def drop_port(self, port: int) -> None:
        """Which socket gets datagrams to this port may have changed, but for connected sockets."""
        for key, endpoint in list(self._unconnected.get(port, {}).items()):
            self._remove(endpoint, key)

    def drop_endpoint(self, endpoint: DatagramEndpoint) -> None:
        """The socket gets nothing more in this way."""
        for key in list(self._by_endpoint.get(endpoint, ())):
            self._remove(endpoint, key)

    def forget(self, endpoint: DatagramEndpoint) -> None:
        """The socket is closed: C must not know it, nor its queue, any longer."""
        self.drop_endpoint(endpoint)
        self._by_endpoint.pop(endpoint, None)
        self._flows.forget(endpoint)

    def _remove(self, endpoint: DatagramEndpoint, key: FlowKey) -> None:
        self._flows.remove(IPPROTO_UDP, *key)
        del self._by_endpoint[endpoint][key]
        of_port = self._unconnected.get(key[1], {})
        if key in of_port:
            del of_port[key]
            if not of_port:
                del self._unconnected[key[1]]
