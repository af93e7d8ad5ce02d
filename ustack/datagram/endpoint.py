"""`DatagramEndpoint`: receiving, pending errors and readiness of a datagram socket."""

from __future__ import annotations

import errno
from typing import Any

from ustack import errors
from ustack.constants import MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC, SHUT_RD, SHUT_RDWR
from ustack.datagram.control import control_messages
from ustack.datagram.error_queue import ErrorQueue
from ustack.datagram.protocol import DatagramProtocol
from ustack.datagram.queue import Datagram, DatagramQueue
from ustack.endpoint import ERROR, HANGUP, READ_HANGUP, READABLE, WRITABLE, Address, ControlMessage, Endpoint
from ustack.ip.icmp import IcmpError
from ustack.ip.packet import Packet
from ustack.wire import Buffer

SHUT_RECEIVING = 1
SHUT_SENDING = 2


class DatagramEndpoint(Endpoint):
    """A socket that receives and sends whole datagrams.

    `kept_errors` is what MSG_ERRQUEUE reads.  Errors go before data, as on Linux: a pending one is raised by the next
    call that sends or receives, once.
    """

    __slots__ = ("_announced_at", "_control", "_last", "host", "kept_errors", "queue", "shut")

    def __init__(self, host: DatagramProtocol, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self.host = host
        self.queue = DatagramQueue(host.record, host.config.receive_buffer)
        self.kept_errors = ErrorQueue()
        self.shut = 0
        """SHUT_RECEIVING, SHUT_SENDING."""
        self._announced_at = 0
        """Where in the list of events the last one of this endpoint was put."""
        self._last: Datagram | None = None
        self._control: ControlMessage | None = None

    def readiness(self) -> int:
        """The bits that hold now, as Linux's datagram_poll() gives them."""
        bits = 0
        if self.queue.cdata.count:
            bits = READABLE
        if self.error:
            bits |= READABLE | ERROR
        elif len(self.kept_errors):
            bits |= ERROR
        if self.shut & SHUT_RECEIVING:
            bits |= READABLE | READ_HANGUP
            if self.shut & SHUT_SENDING:
                bits |= HANGUP
        waits_for = self.host.blocked.get(self)
        return bits if waits_for is not None and len(waits_for.outgoing) else bits | WRITABLE

    def raise_event(self, bits: int) -> None:
        """Tell the floor above that `bits` may have become true; once, until it has taken that event."""
        if self.observer is None:
            return
        events = self.host.events
        place = self._announced_at
        if place < len(events) and events[place][0] is self and events[place][1] == bits:
            return
        self._announced_at = len(events)
        events.append((self, bits))

    def fail(self, number: int) -> None:
        """The network has failed with errno `number`."""
        self.error = number
        self.raise_event(READABLE | WRITABLE | ERROR)

    # Receiving.

    def deliver(self, packet: Packet, source_port: int, destination_port: int, payload: Buffer) -> bool:
        """Queue a copy of `payload`, which came in `packet`; False if the queue is full."""
        if not self.queue.push(packet, source_port, destination_port, payload):
            return False
        self.raise_event(READABLE)
        return True

    def receive_into(self, buffer: Any, flags: int, now: int) -> tuple[int, Address | None, int]:
        """Take the oldest datagram.  A buffer that is too short gets its start, and MSG_TRUNC tells.

        After shutdown of receiving what is queued can still be read, then come 0 bytes from None.
        """
        if flags & MSG_ERRQUEUE:
            return self._receive_error(buffer, flags)
        self.raise_pending_error()
        datagram = self.queue.first()
        if datagram is None:
            if self.shut & SHUT_RECEIVING:
                return 0, None, 0
            raise errors.error(errno.EAGAIN)
        count = self.queue.copy(buffer)
        if not flags & MSG_PEEK:
            self.queue.pop()
        self._last, self._control = datagram, None
        truncated = MSG_TRUNC if count < datagram.length else 0
        length = datagram.length if flags & MSG_TRUNC else count
        return length, (datagram.source, datagram.source_port), truncated

    def _receive_error(self, buffer: Any, flags: int) -> tuple[int, Address | None, int]:
        """Take the oldest kept error: what the packet carried, where it was going; `ancillary` has the rest."""
        kept = self.kept_errors.first()
        if kept is None:
            raise errors.error(errno.EAGAIN)
        if not flags & MSG_PEEK:
            self.error = self.kept_errors.pop()
        view = memoryview(buffer)
        count = min(len(view), len(kept.payload))
        view[:count] = kept.payload[:count]
        self._last, self._control = None, kept.control_message(self.family)
        truncated = MSG_TRUNC if count < len(kept.payload) else 0
        return count, (kept.error.quoted.destination, kept.destination_port), MSG_ERRQUEUE | truncated

    def ancillary(self) -> list[ControlMessage]:
        """The control messages of what `receive_into` gave last, by the options as they are now."""
        if self._control is not None:
            return [self._control]
        datagram = self._last
        if datagram is None:
            return []
        own = self.host.own_address(datagram.destination, datagram.interface)
        return control_messages(self.family, self.options, datagram, own)

    def receive_message(
        self, buffer: Any, flags: int, now: int
    ) -> tuple[int, Address | None, int, list[ControlMessage]]:
        """`receive_into` with the control messages: (count, source, MSG_ flags, [(level, type, data)])."""
        count, source, message_flags = self.receive_into(buffer, flags, now)
        return count, source, message_flags, self.ancillary()

    # Errors.

    def report(self, error: IcmpError, hard: bool, destination_port: int, payload: Buffer) -> None:
        """An ICMP error about a packet of this endpoint's.

        Only a hard one is told, and only if connected; with receive_errors every one.  RFC 1122 §4.1.3.3, udp(7),
        raw(7).
        """
        if self.options.receive_errors:
            self.kept_errors.put(error, destination_port, bytes(payload))
        elif not hard or self.remote_address is None:
            return
        self.fail(error.errno)

    # The rest.

    def readable(self) -> int:
        """The bytes of the oldest datagram (SIOCINQ)."""
        datagram = self.queue.first()
        return 0 if datagram is None else datagram.length

    def option_changed(self, name: str, now: int) -> None:
        """SO_RCVBUF is the queue's limit; without receive_errors nothing is kept."""
        if name == "receive_buffer":
            self.queue.cdata.limit = self.options.receive_buffer or self.host.config.receive_buffer
        elif name == "receive_errors" and not self.options.receive_errors:
            self.kept_errors.clear()

    def shutdown(self, how: int, now: int) -> None:
        """Stop sending or receiving, or both.  Raises ENOTCONN if not connected, and has its effect, as on Linux."""
        if not SHUT_RD <= how <= SHUT_RDWR:
            raise errors.error(errno.EINVAL)
        self.shut |= how + 1
        self.raise_event(READABLE | READ_HANGUP | HANGUP)
        if self.remote_address is None:
            raise errors.error(errno.ENOTCONN)

    def check_sending(self) -> None:
        """Raise the pending error, or EPIPE after shutdown of sending."""
        self.raise_pending_error()
        if self.shut & SHUT_SENDING:
            raise errors.error(errno.EPIPE)

    def close(self, now: int) -> None:
        """Let go of the endpoint; it may be called twice."""
        self.host.endpoints.pop(self, None)
        self.host.blocked.pop(self, None)
