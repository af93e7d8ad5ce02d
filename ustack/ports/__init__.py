"""Local ports: who holds which, who may share one, and which socket a packet of no known flow goes to.

`PortTable` is the whole interface.  `binding` has the units it is made of, `ephemeral` the choice of ports by RFC
6056, `explain` the same choice as `PortTable.lookup` told in words.  Read bind(2), ip(7) and ipv6(7) first: the rules
of sharing are Linux's, which the RFCs leave open, and `tests/interop/test_bind_rules_kernel.py` holds them equal to a
running kernel's.
"""

from ustack.ports.binding import Binding
from ustack.ports.explain import Candidate, Explanation
from ustack.ports.table import PortTable

__all__ = ["Binding", "Candidate", "Explanation", "PortTable"]
