"""The commands of scripts about the network: ip, ethtool, tc and nstat, for the simulated machine and for a kernel."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

from ustack.address import Prefix
from ustack.config import MILLISECOND
from ustack.drops import DropReason
from ustack.ip.routing import RouteMetrics
from ustack.packetdrill.kernel_machine import KernelMachine
from ustack.packetdrill.problems import Unsupported
from ustack.packetdrill.simulation import SimulatedMachine
from ustack.packetdrill.verbs import Shell

_LISTEN = 0x0A
_COUNTERS = {
    "TcpExtOutOfWindowIcmps": DropReason.ICMP_QUOTE,
    "TcpInCsumErrors": DropReason.TCP_CHECKSUM,
    "IcmpInErrors": DropReason.ICMP_TRUNCATED,
}
"""Names of nstat, and the drops that they count."""
_MILLISECONDS = {"ms": MILLISECOND, "s": 1000 * MILLISECOND, "": MILLISECOND}


class SimulatedShell(Shell):
    """Does on the simulated machine what the commands ask for."""

    _machine: SimulatedMachine

    def __init__(self, machine: SimulatedMachine, directory: Path) -> None:
        super().__init__(machine, directory)
        self._machine = machine
        self._counted: dict[str, int] = {}

    def _network(self, words: list[str], given: str) -> tuple[bool, str]:
        if words[0] == "nstat":
            return True, self._nstat(words[1:])
        verbs: dict[str, Callable[[list[str]], bool]] = {"ip": self._ip, "ethtool": self._ethtool, "tc": self._tc}
        return verbs[words[0]](words[1:]), ""

    def _ip(self, words: list[str]) -> bool:
        words = [word for word in words if not word.startswith("-")]
        match words:
            case ["tcp_metrics" | "tcp_metric", "flush" | "delete", *_]:
                return self._flush_metrics()
            case ["route" | "ro" | "r", "change" | "replace" | "add" | "append", prefix, *rest]:
                return self._route(prefix, rest)
            case ["link", "set", *rest]:
                return self._link(rest)
        raise Unsupported(f"the command ip {' '.join(words)} is not known")

    def _flush_metrics(self) -> bool:
        cache = getattr(self._machine.host.stack.tcp, "cookie_cache", None)
        if cache is not None:
            cache.flush()
        return True

    def _link(self, words: list[str]) -> bool:
        if "mtu" in words:
            mtu = int(words[words.index("mtu") + 1])
            self._machine.set_mtu(mtu)
            return True
        raise Unsupported(f"the command ip link set {' '.join(words)} is not known")

    def _route(self, destination: str, words: list[str]) -> bool:
        """A route with its metrics: `advmss 1460 mtu lock 1500 initcwnd 10`."""
        prefix, metrics = _prefix(destination), _metrics(words)
        routes = self._machine.host.stack.ip.routes
        like = next(route for route in routes.routes() if route.interface is self._machine.interface and route.gateway)
        routes.remove(prefix, self._machine.interface)
        routes.add(replace(like, prefix=prefix, metrics=metrics))
        return True

    def _ethtool(self, words: list[str]) -> bool:
        if words[:1] in (["-K"], ["--offload"]):
            for feature, value in zip(words[2::2], words[3::2], strict=False):
                if feature in ("tso", "gso", "tx-tcp-segmentation", "generic-segmentation-offload"):
                    self._machine.set_segmentation(on=value == "on")
            return True
        if words[:1] in (["-s"], ["--change"]):
            return True
        raise Unsupported(f"the command ethtool {' '.join(words)} is not known")

    def _tc(self, words: list[str]) -> bool:
        """Queueing disciplines: what matters is whether they let anything through, and whether they pace (fq)."""
        if words[:1] != ["qdisc"]:
            raise Unsupported(f"the command tc {' '.join(words)} is not known")
        deleted = len(words) > 1 and words[1].startswith("del")
        self._machine.set_queue(room=deleted or not " ".join(words).endswith("limit 0"))
        self._machine.host.stack.config.tcp.pace_everything = not deleted and "fq" in words
        return True

    def _nstat(self, words: list[str]) -> str:
        """The counters that have changed since it was last asked; with names, those."""
        counters = self._machine.host.stack.counters
        lines = []
        for name, reason in _COUNTERS.items():
            count = counters[reason]
            if count > self._counted.get(name, 0):
                lines.append(f"{name:32}{count - self._counted.get(name, 0):<16}0.0")
            self._counted[name] = count
        plain = [word for word in words if not word.startswith("-")]
        return "\n".join(line for line in lines if not plain or line.split()[0] in plain)

    def _socket_table(self) -> str:
        """/proc/net/tcp, of the listeners: that is what scripts look for."""
        lines = [
            f"   0: {bytes(4).hex()}:{endpoint.local_port:04X} 00000000:0000 {_LISTEN:02X} 00000000:00000000"
            for endpoint in self._machine.host.stack.endpoints
            if not endpoint.remote_port
        ]
        return "\n".join(lines)


class KernelShell(Shell):
    """Has the kernel's own programs do in its namespace what the commands ask for."""

    _machine: KernelMachine

    def __init__(self, machine: KernelMachine, directory: Path) -> None:
        super().__init__(machine, directory)
        self._machine = machine

    def _network(self, words: list[str], given: str) -> tuple[bool, str]:
        try:
            return self._machine.run_program(words, given)
        except FileNotFoundError:
            raise Unsupported(f"the program {words[0]} is not installed") from None

    def _socket_table(self) -> str:
        return self._machine.run_program(["cat", "/proc/net/tcp", "/proc/net/tcp6"], "")[1]


def _prefix(text: str) -> Prefix:
    if text == "default":
        return Prefix.parse("0.0.0.0/0")
    return Prefix.parse(text if "/" in text else f"{text}/{128 if ':' in text else 32}")


def _metrics(words: list[str]) -> RouteMetrics:
    """The metrics among the words of a route."""
    metrics: dict[str, object] = {}
    rest = iter(words)
    for word in rest:
        value = next(rest, "")
        if word in ("via", "dev", "proto", "scope", "table", "src"):
            continue
        if value == "lock":
            metrics[f"{word}_locked"] = True
            value = next(rest, "")
        if word == "features":
            metrics[value] = True
        elif word == "rto_min":
            metrics["rto_min_ns"] = _duration(value)
        elif word == "congctl":
            metrics[word] = value
        else:
            metrics[word] = bool(int(value)) if word == "quickack" else int(value)
    unknown = sorted(set(metrics) - {each.name for each in fields(RouteMetrics)})
    if unknown:
        raise Unsupported(f"the route metric {unknown[0]} is not supported")
    return RouteMetrics(**metrics)  # type: ignore[arg-type]


def _duration(text: str) -> int:
    match = re.fullmatch(r"([0-9.]+)(ms|s|)", text)
    if match is None:
        raise Unsupported(f"the time {text} is not understood")
    return int(float(match.group(1)) * _MILLISECONDS[match.group(2)])
