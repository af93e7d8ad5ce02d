"""Which combinations of address family, socket type and protocol there are: the rules of Winsock's `socket()`.

The catalog below is the list of transport providers of Winsock's reference ("socket function (winsock2.h)"), in the
order in which they are tried: the first provider that fits what the caller gave is taken, zero means "not given".
Where none fits, `resolve` tells which of the three was at fault.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from ustack import errors
from ustack.constants import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_IGMP,
    IPPROTO_PGM,
    IPPROTO_SCTP,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_RDM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
)

ANY_PROTOCOL = -1
"""In the catalog: every protocol number from 1 to 255, if the caller names one and the type too."""


class Provider(NamedTuple):
    """One row of the catalog.  `provided` is False for a combination that is known but not built in."""

    family: int
    kind: int
    protocol: int
    provided: bool = True

    def fits(self, family: int, kind: int, protocol: int) -> bool:
        """Whether this provider has what was asked for.  A raw socket's protocol is the caller's to name."""
        if family not in (AF_UNSPEC, self.family):
            return False
        if self.protocol == ANY_PROTOCOL:
            return kind == self.kind and 0 < protocol < 256
        return kind in (0, self.kind) and (protocol == self.protocol or (protocol == 0 and self.kind != SOCK_RAW))


CATALOG = (
    Provider(AF_INET, SOCK_STREAM, IPPROTO_TCP),
    Provider(AF_INET, SOCK_DGRAM, IPPROTO_UDP),
    Provider(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
    Provider(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
    Provider(AF_INET, SOCK_RAW, IPPROTO_ICMP),
    Provider(AF_INET, SOCK_RAW, IPPROTO_IGMP),
    Provider(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6),
    Provider(AF_INET6, SOCK_RAW, IPPROTO_ICMP),
    Provider(AF_INET6, SOCK_RAW, IPPROTO_IGMP),
    Provider(AF_INET, SOCK_RAW, IPPROTO_ICMPV6),
    Provider(AF_INET, SOCK_RAW, ANY_PROTOCOL),
    Provider(AF_INET6, SOCK_RAW, ANY_PROTOCOL),
    Provider(AF_INET, SOCK_RDM, IPPROTO_PGM, provided=False),
    Provider(AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP, provided=False),
    Provider(AF_INET, SOCK_STREAM, IPPROTO_SCTP, provided=False),
    Provider(AF_INET6, SOCK_SEQPACKET, IPPROTO_SCTP, provided=False),
    Provider(AF_INET6, SOCK_STREAM, IPPROTO_SCTP, provided=False),
)


def resolve(family: int, kind: int, protocol: int) -> tuple[int, int, int]:
    """The complete (family, kind, protocol) for what was asked, where 0 is "unspecified".

    Raises EINVAL if all three are unspecified, else EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT or EPROTOTYPE.
    """
    if family == AF_UNSPEC and kind == 0 and protocol == 0:
        raise errors.error(errno.EINVAL, "family, type and protocol are all unspecified")
    for provider in CATALOG:
        if provider.fits(family, kind, protocol):
            if not provider.provided:
                raise _not_provided(protocol)
            return provider.family, provider.kind, protocol if provider.kind == SOCK_RAW else provider.protocol
    raise _misfit(family, kind, protocol)


def _not_provided(protocol: int) -> OSError:
    """The error for a known combination that this stack has not: the protocol is at fault if it was named."""
    return errors.error(errno.EPROTONOSUPPORT if protocol else errno.ESOCKTNOSUPPORT)


def _misfit(family: int, kind: int, protocol: int) -> OSError:
    """The error for a combination that is not in the catalog."""
    of_family = [row for row in CATALOG if family in (AF_UNSPEC, row.family)]
    if not of_family:
        return errors.error(errno.EAFNOSUPPORT)
    if kind and all(row.kind != kind for row in of_family):
        return errors.error(errno.ESOCKTNOSUPPORT)
    if all(row.protocol != protocol for row in CATALOG if row.protocol != ANY_PROTOCOL):
        return errors.error(errno.EPROTONOSUPPORT)
    return errors.error(errno.EPROTOTYPE if kind else errno.EPROTONOSUPPORT)
