"""The plan of the packet mark: who may write which bits.

    31      24 23      20 19    17  16   15             0
    +---------+----------+--------+-----+---------------+
    |  trace  |  unused  | policy | masq|  endpoint     |
    +---------+----------+--------+-----+---------------+

A mark is one number that travels with a packet through one node's hooks, and every table of that node sees
it. Invariant: a function writes only its own bits, through a mask, and clears what it set once that has
been acted upon (an encapsulated packet inherits its inner packet's mark).

The endpoint's choice needs a whole number out of a map, and nftables can mask only what it writes as a
constant. So service.py keeps it in the same bits of the *connection's* mark, which is 0 when a
connection's first packet arrives.

The proxy mode `iptables` marks for masquerade with kube-proxy's own bit 14 of the packet's mark, for its rules
shall read as in every other cluster. No endpoint's choice is kept there in that mode.

Sources: nft(8), "META EXPRESSIONS" and "CONNTRACK EXPRESSIONS"; kube-proxy's --iptables-masquerade-bit.
"""

from __future__ import annotations

ENDPOINT = 0x0000FFFF
MASQUERADE = 0x00010000
POLICY = 0x000E0000
TRACE = 0xFF000000
