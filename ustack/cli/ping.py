"""`ustack ping`: send echo requests from a stack and tell the round-trip times."""

from __future__ import annotations

import argparse
import ipaddress
import os
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from ustack import socket
from ustack.cli import station
from ustack.cli.output import console, duration, show_json
from ustack.drops import Drop
from ustack.wire import icmpv4, icmpv6, ipv4
from ustack.wire.dissect import dissect
from ustack.wire.pretty_words import icmp_words

NO_ANSWER = 1
BUFFER = 65535
PAYLOAD_MAX = 65507


@dataclass(slots=True)
class Report:
    """What has come of the requests."""

    destination: str
    size: int
    sent: int = 0
    answers: list[tuple[int, int]] = field(default_factory=list)
    """Sequence number and round-trip time in nanoseconds."""
    errors: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ustack ping`."""
    parser.add_argument("destination", nargs="?", help="an address (the kernel's side of the device)")
    parser.add_argument("-c", "--count", type=int, default=4, help="requests (%(default)s; 0: until Ctrl-C)")
    parser.add_argument("-i", "--interval", type=float, default=1.0, help="seconds between requests (%(default)s)")
    parser.add_argument("-s", "--size", type=int, default=56, help="bytes of data (%(default)s)")
    parser.add_argument(
        "-W", "--timeout", type=float, default=1.0, help="seconds to wait for the last answer (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    station.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ping; 0 if any answer came."""
    if not 0 <= arguments.size <= PAYLOAD_MAX:
        raise ValueError(f"the size must be between 0 and {PAYLOAD_MAX}")
    with station.open_station(arguments) as running:
        destination = str(ipaddress.ip_address(arguments.destination or running.kernel[0]))
        report = Report(destination, arguments.size)
        try:
            with Pinger(report, talk=not arguments.json) as pinger:
                pinger.run(arguments.count, arguments.interval, arguments.timeout)
        except KeyboardInterrupt:
            pass
    _show(report, as_json=arguments.json)
    return 0 if report.answers else NO_ANSWER


class Pinger:
    """A raw socket that sends echo requests and knows its answers."""

    def __init__(self, report: Report, *, talk: bool) -> None:
        self._report = report
        self._talk = talk
        self._version = ipaddress.ip_address(report.destination).version
        self._identifier = os.getpid() & 0xFFFF
        self._sent_ns: dict[int, int] = {}
        if self._version == 4:
            self._socket: Any = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        else:
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        # Not connected: errors come from hosts on the way.
        self._source = _source_for(report.destination)

    def run(self, count: int, interval: float, timeout: float) -> None:
        """Send all requests, and take answers in between and for a while after the last."""
        begin = time.monotonic()
        while not count or self._report.sent < count:
            self._send()
            last = self._report.sent == count
            self._receive(begin + self._report.sent * interval if not last else time.monotonic() + timeout, last=last)

    def _send(self) -> None:
        number = self._report.sent & 0xFFFF
        data = bytes(index & 0xFF for index in range(self._report.size))
        if self._version == 4:
            message = icmpv4.build_echo_request(self._identifier, number, data)
        else:
            destination = ipaddress.ip_address(self._report.destination).packed
            message = icmpv6.build_echo_request(self._source, destination, self._identifier, number, data)
        self._report.sent += 1
        self._sent_ns[number] = time.monotonic_ns()
        self._socket.sendto(message, (self._report.destination, 0))

    def _receive(self, until: float, *, last: bool) -> None:
        """Take answers until then, or until there is nothing more to wait for."""
        while (left := until - time.monotonic()) > 0 and not (last and not self._sent_ns):
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(BUFFER)
            except TimeoutError:
                return
            self._take(data, time.monotonic_ns())

    def _take(self, data: bytes, now: int) -> None:
        """An ICMP message of any kind; raw IPv4 sockets give the IP header too."""
        try:
            if self._version == 4:
                message: Any = icmpv4.parse_quoted(memoryview(data)[ipv4.parse_quoted(data).header_length :])
                reply = message.type == icmpv4.IcmpType.ECHO_REPLY
            else:
                message = icmpv6.parse_quoted(data)
                reply = message.type == icmpv6.Icmpv6Type.ECHO_REPLY
        except Drop:
            return
        if reply and message.identifier == self._identifier and message.sequence_number in self._sent_ns:
            self._answered(message.sequence_number, now, len(message.body))
        elif message.is_error and self._is_about_us(message.quoted_packet):
            self._failed(" ".join(filter(None, icmp_words(message))))

    def _answered(self, number: int, now: int, size: int) -> None:
        elapsed = now - self._sent_ns.pop(number)
        self._report.answers.append((number, elapsed))
        if self._talk:
            console.print(f"{size} bytes from {self._report.destination}: seq {number}, {duration(elapsed)}")

    def _failed(self, words: str) -> None:
        self._report.errors.append(words)
        if self._talk:
            console.print(Text(f"{self._report.destination}: {words}"))

    def _is_about_us(self, quoted: memoryview) -> bool:
        headers = [layer.header for layer in dissect(quoted)]
        return any(
            isinstance(header, icmpv4.IcmpMessage | icmpv6.IcmpMessage) and header.identifier == self._identifier
            for header in headers
        )

    def __enter__(self) -> Pinger:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _source_for(destination: str) -> bytes:
    """The address that packets to there leave from.  Raises OSError where there is no way."""
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((destination, 9))
        return ipaddress.ip_address(probe.getsockname()[0]).packed


def _show(report: Report, *, as_json: bool) -> None:
    times = [elapsed for _, elapsed in report.answers]
    if as_json:
        answers = [{"seq": number, "rtt_ns": elapsed} for number, elapsed in report.answers]
        show_json(
            {
                "destination": report.destination,
                "size": report.size,
                "sent": report.sent,
                "answers": answers,
                "errors": report.errors,
            }
        )
        return
    lost = 1 - len(times) / report.sent if report.sent else 0
    console.print(f"{report.sent} sent, {len(times)} answered, {lost:.0%} lost")
    if times:
        words = [duration(value) for value in (min(times), round(statistics.fmean(times)), max(times))]
        console.print("round trip min {}, mean {}, max {}".format(*words))
