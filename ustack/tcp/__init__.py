"""TCP, laid out as RFC 9293 is.

`arrival` and `arrival_synchronized` are §3.10.7, `calls` is §3.10.1 to 6, `timeouts` is §3.10.8; each other module is
one mechanism with the RFC it comes from.  The state of a connection is the TCB (`native/include/ustack/tcb.h`), which C
and Python share; what only Python needs is on `connection.Connection`.
"""
