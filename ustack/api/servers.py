"""`on_ustack`: the classes of `socketserver` and `http.server`, unmodified, on sockets of ours.

    server = on_ustack(ThreadingHTTPServer)(("10.9.0.2", 80), SimpleHTTPRequestHandler)
    server.serve_forever()

On the real clock `serve_forever` is Python's own, with a selector over `fileno()`.  In a lab, where nothing may wait in
the kernel, it is a loop over the driver's own wait, and each request's thread is a task of the host.
"""

from __future__ import annotations

import http.server
import socketserver
from typing import TYPE_CHECKING, Any, TypeVar

from ustack.api.socket import socket
from ustack.endpoint import READABLE
from ustack.runtime.current import current_driver
from ustack.runtime.driver import Driver
from ustack.runtime.thread_driver import ThreadDriver

S = TypeVar("S", bound=socketserver.TCPServer)

if TYPE_CHECKING:

    class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        """Whatever `_OnUstack` may stand in front of."""
else:
    _Server = object


class _OnUstack(_Server):
    """In front of a server class: its listening socket, and its waiting.

    `TCPServer.__init__` makes a kernel socket, which is unbound: before it is bound, it is closed and replaced.
    """

    _driver: Driver
    _virtual = False
    _serving = False

    def server_bind(self) -> None:
        """Bind; an HTTP server's name is its address: the name service knows nothing of our stack."""
        self.socket.close()
        self.socket = self._listening = socket(self.address_family, self.socket_type)
        self._driver = current_driver()
        self._virtual = not isinstance(self._driver, ThreadDriver)
        if _is_http(self):
            socketserver.TCPServer.server_bind(self)
            self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        else:
            super().server_bind()

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Handle requests until `shutdown`."""
        if not self._virtual:
            super().serve_forever(poll_interval)
            return
        self._serving = True
        while self._serving:
            if self._listening.wait(READABLE, poll_interval) and self._serving:
                self._handle_request_noblock()  # type: ignore[attr-defined]
            self.service_actions()

    def shutdown(self) -> None:
        """End `serve_forever`, at the latest after its poll interval."""
        self._serving = False
        if not self._virtual:
            super().shutdown()

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a lab, a threading server's threads are tasks."""
        if self._virtual and isinstance(self, socketserver.ThreadingMixIn):
            self._driver.spawn(self.process_request_thread, request, client_address)
        else:
            super().process_request(request, client_address)


def _is_http(server: object) -> bool:
    return isinstance(server, http.server.HTTPServer)


def on_ustack(server_class: type[S]) -> type[S]:
    """A subclass of a server class whose sockets are of the driver that is current when a server is made."""
    return type(server_class.__name__, (_OnUstack, server_class), {"__doc__": server_class.__doc__})
