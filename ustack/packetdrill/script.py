"""What a script says, as data.  Times are nanoseconds, sequence numbers as the script has them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from types import EllipsisType
from typing import TypeAlias

INBOUND, OUTBOUND = "<", ">"


class TimeKind(enum.Enum):
    """What the time of an event counts from."""

    ABSOLUTE = "at"
    RELATIVE = "+"
    ANY = "*"


@dataclass(frozen=True, slots=True)
class Time:
    """When an event is due; with `end`, at any time from `start` to `end`."""

    kind: TimeKind
    start: int = 0
    end: int | None = None


class TosCheck(enum.Enum):
    """Which bits of the traffic class a packet has, or must have."""

    NONE = ""
    ECN = "ecn"
    ECT = "ect01"
    ALL = "tos"


@dataclass(frozen=True, slots=True)
class IpSpec:
    """What a script says about the IP header: `ttl` and `flow_label` of 0 are not checked."""

    check: TosCheck = TosCheck.NONE
    traffic_class: int = 0
    flow_label: int = 0
    ttl: int = 0


@dataclass(frozen=True, slots=True)
class TcpSpec:
    """A TCP segment.  `options` None: any; `window` None: any; `by_ace`: the ECN flags were given as a number."""

    flags: int
    seq: int
    length: int
    ack: int = 0
    window: int | None = None
    urgent_pointer: int = 0
    options: bytes | None = b""
    by_ace: bool = False
    ports: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class UdpSpec:
    """A UDP datagram with `length` bytes of data."""

    length: int
    ports: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class IcmpSpec:
    """An ICMP message by the names of its type and code, and the packet that it quotes."""

    kind: str
    code: str | None = None
    mtu: int | None = None
    identifier: int = 0
    quoted: TcpSpec | UdpSpec | None = None


@dataclass(frozen=True, slots=True)
class PacketSpec:
    """A packet that is sent to the stack (INBOUND) or expected of it (OUTBOUND)."""

    direction: str
    ip: IpSpec
    transport: TcpSpec | UdpSpec | IcmpSpec


@dataclass(frozen=True, slots=True)
class Name:
    """A symbol, such as SOCK_STREAM."""

    text: str


@dataclass(frozen=True, slots=True)
class Either:
    """`left | right`."""

    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Apply:
    """`htons(8080)`, and `msg_iov(1)` in a structure."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """`name = value`, in a structure or a list of attributes."""

    name: str
    value: Expression
    argument: Expression | None = None


@dataclass(frozen=True, slots=True)
class Array:
    """`[a, b]`."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Structure:
    """`{a, b = c}`."""

    items: tuple[Expression, ...]

    def fields(self) -> dict[str, Expression]:
        """The named members."""
        return {item.name: item.value for item in self.items if isinstance(item, Field)}


Expression: TypeAlias = int | bytes | EllipsisType | Name | Either | Apply | Field | Array | Structure


@dataclass(frozen=True, slots=True)
class Call:
    """A system call, its result, and for one that blocks when it returns."""

    name: str
    arguments: tuple[Expression, ...]
    result: Expression
    error: str | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A line for a shell."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Python over the connection's TCP_INFO."""

    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens at a time."""

    line: int
    time: Time
    action: PacketSpec | Call | Command | Code


@dataclass(slots=True)
class Script:
    """A whole script."""

    path: str
    options: list[tuple[str, str]] = field(default_factory=list)
    init: Command | None = None
    init_line: int = 0
    events: list[Event] = field(default_factory=list)
    cleanup: Command | None = None
    cleanup_line: int = 0
    failure: str | None = None
    """The script must fail: the regular expression of its `// Failure:` comment."""
