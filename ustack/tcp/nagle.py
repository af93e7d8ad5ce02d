"""Whether the last, partial segment waits for more: Nagle as Minshall has amended it, TCP_NODELAY, TCP_CORK, MSG_MORE.

RFC 9293 §3.7.4 (SHLD-7, MUST-17), RFC 896, draft-minshall-nagle-01.  A rule is a set of the bits below; none of them is
Nagle's rule itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.tcp import sequence

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection

OFF = 1
"""TCP_NODELAY: a partial segment leaves at once."""
CORK = 2
"""TCP_CORK, MSG_MORE: it does not leave, whatever else is said."""
PUSH = 4
"""It leaves, even through a cork."""


def rule_of(connection: Connection) -> int:
    """The rule that the socket's options give."""
    options = connection.options
    return options.no_delay * OFF | options.cork * CORK | connection.sending.released * PUSH


def holds(tcb: Any, rule: int) -> bool:
    """Whether `rule` holds a partial segment back: corked, or while an earlier small one is not acknowledged."""
    if rule:
        return bool(rule & CORK)
    return bool(tcb.sent.count) and sequence.is_within(tcb.snd_una, tcb.snd_sml, tcb.snd_nxt)
