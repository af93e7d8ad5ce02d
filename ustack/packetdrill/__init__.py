"""The packetdrill language: scripts that send and expect packets, make system calls, and say when.

`grammar` reads a script, `runner` runs it on a host of its own in virtual time, `suite` runs many.  The language and
what a verdict means are described in docs/guide/packetdrill.md.
"""
