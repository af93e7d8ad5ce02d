"""The Internet layer of a host: IPv4 and IPv6, ICMP, reassembly, routing.  Read RFC 1122 §3 and RFC 8200 first.

`layer.IpLayer` owns all state; the other modules hold the rules, one subject each.  Nothing here knows of sockets or
ports.
"""
