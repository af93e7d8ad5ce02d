"""Segments signed with a secret that both ends know: TCP-AO (RFC 5925, RFC 5926) and, before it, MD5 (RFC 2385).

`keys` holds what a user has set for which peers, `guard` is one connection's use of it: it makes room for the option,
signs each frame that leaves and checks each segment that arrives, before anything else looks at it.  `md5` and
`authentication_option` are the two ways to sign, `algorithms` what the second may sign with, `aes` a cipher for that.
Connections without keys have no guard.
"""
