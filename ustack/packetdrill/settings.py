"""What a run is told: by the command line, and by the options at the head of a script."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ustack.address import parse_address
from ustack.packetdrill.problems import Unsupported
from ustack.packetdrill.script import Script

MICROSECOND = 1000
KERNEL = "kernel"
"""`against`: the kernel, in a namespace that ustack makes."""
MTU_IPV4, MTU_IPV6 = 1500, 1520
"""With them the MSS is 1460 for both versions, as scripts expect it."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Who talks to whom, as text."""

    version: int
    local: str
    remote: str
    gateway: str
    prefix_length: int

    @property
    def local_with_prefix(self) -> str:
        """The address of the interface."""
        return f"{self.local}/{self.prefix_length}"


ADDRESSES = {
    4: Addresses(4, "192.168.0.1", "192.0.2.1", "192.168.0.1", 16),
    6: Addresses(6, "fd3d:0a0b:17d6::1", "fd3d:fa7b:d17d::1", "fd3d:0a0b:17d6:8888::1", 48),
}
"""Those with which the suites are run."""
_DEFINES = {
    4: {
        "TFO_COOKIE": "3021b9d889017eeb", "TFO_COOKIE_ZERO": "b7c12350a90dc8f5", "CODE": "host_unreachable",
        "CMSG_LEVEL_IP": "SOL_IP", "CMSG_TYPE_RECVERR": "IP_RECVERR",
    },
    6: {
        "TFO_COOKIE": "c1d1e9742a47a9bc", "TFO_COOKIE_ZERO": "82af1a8f9a205c34",
        "CMSG_LEVEL_IP": "SOL_IPV6", "CMSG_TYPE_RECVERR": "IPV6_RECVERR",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is not in the events.  Times are nanoseconds."""

    version: int = 4
    addresses: Addresses = ADDRESSES[4]
    mtu: int = MTU_IPV4
    mss: int = 0
    """Payload of the segments that a large inbound packet was joined from; 0: it came as it is."""
    bind_port: int = 8080
    connect_port: int = 8080
    tolerance_ns: int = 4000 * MICROSECOND
    tolerance_fraction: float = 0.125
    timestamp_tick_ns: int = 0
    scaled_echo: bool = False
    strict: bool = False
    """Packets that the script does not mention are an error."""
    strict_segments: bool = False
    """Packets are not joined to the length that the script gives."""
    non_fatal: frozenset[str] = frozenset()
    defines: dict[str, str] = field(default_factory=dict)
    mapped: bool = False
    """IPv4 by IPv6 sockets."""
    against: str = ""
    """What else than ustack the script runs on, in real time: `KERNEL`, or what is behind a device of this name."""
    fixed: frozenset[str] = frozenset()
    """Options of scripts that are not heeded: the command line has decided."""

    @property
    def is_foreign(self) -> bool:
        """Whether system calls are made by somebody else."""
        return self.against not in ("", KERNEL)

    def definitions(self) -> dict[str, str]:
        """The words that are replaced in the script."""
        return {**_DEFINES[self.version], **self.defines}


def for_version(version: int, **changes: object) -> Settings:
    """The settings with which the suites are run over one IP version."""
    base = Settings(version=version, addresses=ADDRESSES[version], mtu=MTU_IPV4 if version == 4 else MTU_IPV6)
    return replace(base, **changes)  # type: ignore[arg-type]


def exact(settings: Settings, tolerance_us: int) -> Settings:
    """The settings with a tolerance of the user's, whatever scripts say; 0 is none at all, however long the wait."""
    return replace(
        settings,
        tolerance_ns=tolerance_us * MICROSECOND,
        tolerance_fraction=settings.tolerance_fraction if tolerance_us else 0.0,
        fixed=settings.fixed | {"tolerance_usecs", "tolerance_percent"},
    )


_NUMBERS = {"mss": "mss", "mtu": "mtu", "bind_port": "bind_port", "connect_port": "connect_port"}
_MICROSECONDS = {"tolerance_usecs": "tolerance_ns", "tcp_ts_tick_usecs": "timestamp_tick_ns"}
_FLAGS = {"tcp_ts_ecr_scaled": "scaled_echo", "strict_segments": "strict_segments"}
_ADDRESSES = {"local_ip": "local", "remote_ip": "remote", "gateway_ip": "gateway"}
_IGNORED = frozenset((
    "code_command", "code_format", "code_sockopt", "send_omit_free", "speed", "init_scripts", "netmask_ip", "define",
    "debug", "verbose", "D", "v", "so_filename", "dry_run",
))  # fmt: skip
"""What has no meaning here, or was heeded when the script was read."""


def with_options(settings: Settings, script: Script) -> Settings:
    """The settings with the options that a script begins with.  Raises Unsupported."""
    for name, value in script.options:
        settings = _with_option(settings, name, value)
    return settings


def _with_option(settings: Settings, name: str, value: str) -> Settings:
    try:
        if name in settings.fixed or name in _IGNORED:
            return settings
        if name in _NUMBERS:
            return replace(settings, **{_NUMBERS[name]: int(value)})  # type: ignore[arg-type]
        if name in _MICROSECONDS:
            return replace(settings, **{_MICROSECONDS[name]: int(value) * MICROSECOND})  # type: ignore[arg-type]
        if name in _FLAGS:
            return replace(settings, **{_FLAGS[name]: True})  # type: ignore[arg-type]
        if name == "tolerance_percent":
            return replace(settings, tolerance_fraction=float(value) / 100)
        if name in _ADDRESSES:
            return _with_address(settings, _ADDRESSES[name], value)
        if name == "non_fatal":
            return replace(settings, non_fatal=frozenset(value.replace(",", " ").split()))
        if name == "ip_version":
            return _with_version(settings, value)
    except ValueError:
        raise Unsupported(f"--{name}={value} is not understood") from None
    raise Unsupported(f"the option --{name} is not supported")


def _with_address(settings: Settings, which: str, text: str) -> Settings:
    """An address of the other IP version is not meant: suites run such scripts over both."""
    if (settings.version == 4) != (":" not in text):
        return settings
    parse_address(text)
    return replace(settings, addresses=replace(settings.addresses, **{which: text}))  # type: ignore[arg-type]


def _with_version(settings: Settings, value: str) -> Settings:
    version = {"ipv4": 4, "ipv6": 6, "ipv4-mapped-ipv6": 4}.get(value)
    if version is None:
        raise ValueError(value)
    if version != settings.version:
        raise Unsupported(f"the script is for {value}")
    return replace(settings, mapped=value == "ipv4-mapped-ipv6")
