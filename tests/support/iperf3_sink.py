"""The server's side of iperf3's control protocol for TCP tests that send to the server, on any socket module.

The control connection carries one-byte states and JSON with a 4-byte length in front; each data connection starts with
the control connection's 37-byte cookie.  esnet/iperf, `src/iperf_api.h`.
"""

from __future__ import annotations

import json
import struct
import threading
from typing import Any

COOKIE_LENGTH = 37
TEST_START, TEST_RUNNING, TEST_END = 1, 2, 4
PARAM_EXCHANGE, CREATE_STREAMS, EXCHANGE_RESULTS, DISPLAY_RESULTS, IPERF_DONE = 9, 10, 13, 14, 16


class Iperf3Sink:
    """Serves one test, and knows afterwards what it received."""

    def __init__(self, listener: Any) -> None:
        self.listener = listener
        self.parameters: dict[str, Any] = {}
        self.received: list[int] = []
        self.client_results: dict[str, Any] = {}

    def serve_one(self) -> None:
        """From the control connection to IPERF_DONE."""
        control, _ = self.listener.accept()
        with control:
            receive_exactly(control, COOKIE_LENGTH)
            send_state(control, PARAM_EXCHANGE)
            self.parameters = receive_json(control)
            send_state(control, CREATE_STREAMS)
            threads = [self._start_stream(index) for index in range(self.parameters.get("parallel", 1))]
            send_state(control, TEST_START)
            send_state(control, TEST_RUNNING)
            expect_state(control, TEST_END)
            send_state(control, EXCHANGE_RESULTS)
            self.client_results = receive_json(control)
            send_json(control, self._results())
            send_state(control, DISPLAY_RESULTS)
            expect_state(control, IPERF_DONE)
        for thread in threads:
            thread.join()

    def _start_stream(self, index: int) -> threading.Thread:
        stream, _ = self.listener.accept()
        receive_exactly(stream, COOKIE_LENGTH)
        self.received.append(0)
        thread = threading.Thread(target=self._sink, args=(stream, index))
        thread.start()
        return thread

    def _sink(self, stream: Any, index: int) -> None:
        buffer = bytearray(1 << 18)
        with stream:
            while count := stream.recv_into(buffer):
                self.received[index] += count

    def _results(self) -> dict[str, Any]:
        streams = [
            {"id": 1 if not index else index + 2, "bytes": count, "retransmits": -1, "jitter": 0, "errors": 0,
             "packets": 0, "start_time": 0, "end_time": self.parameters.get("time", 0)}
            for index, count in enumerate(self.received)
        ]  # fmt: skip
        return {
            "cpu_util_total": 0, "cpu_util_user": 0, "cpu_util_system": 0, "sender_has_retransmits": -1,
            "streams": streams,
        }  # fmt: skip


def receive_exactly(connection: Any, count: int) -> bytes:
    """`count` bytes; raises EOFError if the peer closes before."""
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError(f"{len(data)} of {count} bytes")
        data += more
    return data


def receive_json(connection: Any) -> dict[str, Any]:
    """A JSON object with its length in front."""
    (length,) = struct.unpack(">I", receive_exactly(connection, 4))
    result: dict[str, Any] = json.loads(receive_exactly(connection, length))
    return result


def send_json(connection: Any, value: dict[str, Any]) -> None:
    """As `receive_json`."""
    text = json.dumps(value).encode()
    connection.sendall(struct.pack(">I", len(text)) + text)


def send_state(connection: Any, state: int) -> None:
    """One state of the control protocol."""
    connection.sendall(struct.pack("b", state))


def expect_state(connection: Any, state: int) -> None:
    """The client's next state."""
    (received,) = struct.unpack("b", receive_exactly(connection, 1))
    assert received == state, f"state {received}, expected {state}"
