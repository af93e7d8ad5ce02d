"""`FlowTable`: which endpoint owns a flow, by protocol, addresses and ports; and the handles that C names endpoints by.

A flow is exact: both addresses and both ports.  The table's memory is C's (`native/include/ustack/flow_table.h`), so
that the fast path finds connections without Python; what an unbound remote may reach is the business of `ports`,
never of this module.
"""

from __future__ import annotations

import errno
from typing import Any

from ustack import errors
from ustack.endpoint import Endpoint
from ustack.native import ffi, lib

KEY_BYTES = 16


class FlowTable:
    """Exact flows of one stack; `cdata` is the `struct flow_table *` that the fast path takes.

    `key` is the secret of the table's SipHash, 16 bytes: without it nobody can choose flows that collide.  An
    endpoint stays alive, and with it the memory that its flows point to, from its first handle until `forget`.
    """

    __slots__ = ("_endpoints", "_flows", "_free", "_handles", "_key", "cdata")

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES, "the flow table's key is 16 bytes"
        cdata = lib.flow_table_new(key)
        if cdata == ffi.NULL:
            raise errors.error(errno.ENOMEM)
        self.cdata: Any = ffi.gc(cdata, lib.flow_table_free)
        self._key: Any = ffi.new("struct flow_key *")
        self._endpoints: list[Endpoint | None] = []
        self._flows: list[int] = []
        self._free: list[int] = []
        self._handles: dict[Endpoint, int] = {}

    def __len__(self) -> int:
        count: int = self.cdata.count
        return count

    def handle_of(self, endpoint: Endpoint) -> int:
        """The small integer that C names `endpoint` by: allocated at the first call, freed by `forget`, then reused."""
        handle = self._handles.get(endpoint)
        if handle is None:
            handle = self._allocate(endpoint)
            self._handles[endpoint] = handle
        return handle

    def _allocate(self, endpoint: Endpoint) -> int:
        if self._free:
            handle = self._free.pop()
            self._endpoints[handle] = endpoint
            return handle
        self._endpoints.append(endpoint)
        self._flows.append(0)
        return len(self._endpoints) - 1

    def by_handle(self, handle: int) -> Endpoint | None:
        """The endpoint of a handle; None if it was forgotten since C noted the handle."""
        return self._endpoints[handle] if 0 <= handle < len(self._endpoints) else None

    def forget(self, endpoint: Endpoint) -> None:
        """Free the endpoint's handle, if it has one; all its flows must be removed before."""
        handle = self._handles.pop(endpoint, None)
        if handle is None:
            return
        assert not self._flows[handle], "a forgotten endpoint has no flow left that could point to its memory"
        self._endpoints[handle] = None
        self._free.append(handle)

    def insert(
        self,
        protocol: int,
        local: bytes,
        local_port: int,
        remote: bytes,
        remote_port: int,
        endpoint: Endpoint,
        kind: int = lib.FLOW_OTHER,
        target: Any = ffi.NULL,
    ) -> None:
        """Make `endpoint` the owner of a flow, in place of an earlier owner.

        `kind` says what `target` points to (FLOW_TCP: a `struct tcb`, FLOW_UDP: a `struct datagram_queue`,
        FLOW_OTHER: nothing). Raises ENOBUFS without memory.
        """
        handle = self.handle_of(endpoint)
        key = self._fill(protocol, local, local_port, remote, remote_port)
        earlier = lib.flow_table_find(self.cdata, key)
        replaced = earlier.handle if earlier else None
        if lib.flow_table_insert(self.cdata, key, kind, handle, target):
            raise errors.error(errno.ENOBUFS)
        self._flows[handle] += 1
        if replaced is not None:
            self._flows[replaced] -= 1

    def remove(self, protocol: int, local: bytes, local_port: int, remote: bytes, remote_port: int) -> bool:
        """Remove a flow; whether it was there."""
        key = self._fill(protocol, local, local_port, remote, remote_port)
        flow = lib.flow_table_find(self.cdata, key)
        if not flow:
            return False
        self._flows[flow.handle] -= 1
        lib.flow_table_remove(self.cdata, key)
        return True

    def find(self, protocol: int, local: bytes, local_port: int, remote: bytes, remote_port: int) -> Endpoint | None:
        """The owner of a flow, or None."""
        flow = lib.flow_table_find(self.cdata, self._fill(protocol, local, local_port, remote, remote_port))
        return self._endpoints[flow.handle] if flow else None

    def _fill(self, protocol: int, local: bytes, local_port: int, remote: bytes, remote_port: int) -> Any:
        version = 4 if len(local) == 4 else 6
        lib.flow_key_fill(self._key, protocol, version, local, local_port, remote, remote_port)
        return self._key
