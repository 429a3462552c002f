"""What the cluster's DNS answers, as a table: run through `evaluate`, and through a real server over UDP and TCP.

A row of ROWS: given (an object of CLUSTER, in words), question, type, the wanted code and answers' data, why, source.
A row of WIRE: what is sent (a query's bytes), the wanted code (None: silence), why, source.

"DNS-SD" is the Kubernetes DNS-Based Service Discovery specification, version 1.1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import dns.edns
import dns.message
import dns.opcode
import dns.rdataclass

from netfns.dns import NamedEndpoint, NamedService
from tests.golden.cases import NAMES

SVC, POD = "default.svc.cluster.local.", "default.pod.cluster.local."
MANY = NamedService(
    "default", "many", endpoints=tuple(NamedEndpoint((f"10.244.9.{n}",), "", ()) for n in range(2, 150))
)
CLUSTER = replace(NAMES, services=(*NAMES.services, MANY))
OUTSIDE_HOSTS = {"www.outside.example.": ("203.0.113.10", "2001:db8:113::10")}


@dataclass(frozen=True)
class Row:
    """One question to the cluster of CLUSTER. `alias` is where the answer leads out of our zones."""

    given: str
    question: str
    type: str
    code: str
    answers: frozenset[str]
    why: str
    source: str
    alias: str = ""


def row(given: str, question: str, want: str, why: str, source: str, alias: str = "") -> Row:
    """`question` is "TYPE NAME", `want` "CODE DATA, DATA …"."""
    type_, _, name = question.partition(" ")
    code, _, data = want.partition(" ")
    return Row(given, name, type_, code, frozenset(filter(None, data.split(", "))), why, source, alias)


CLUSTER_IP = "a service with addresses 10.96.0.20 and fd00:96::20, port http 80/TCP"
IPV4_ONLY = "a service with address 10.96.0.30, its port without a name"
HEADLESS = "a headless service: db-0 at 10.244.1.5, and 10.244.2.5 with fd00:244:0:2::5 without host name"
MEMBERS = "a service with address 10.96.0.40; endpoint 10.244.1.6 has host name members-0, 10.244.1.7 none"
EMPTY = "a headless service without ready endpoints"
EXTERNAL = "externalName: www.outside.example"
NUMBER = "externalName: 203.0.113.10"
ALIAS = "externalName: web.default.svc.cluster.local"
LOOP = "externalName: its own name"
MACHINE = "a headless service whose endpoint vm1 at 192.168.50.100 is in no range of the cluster's"
A_POD = "a pod with addresses 10.244.1.2 and fd00:244:0:1::2"
NOBODY = "nothing"
ZONE = "the cluster domain"

ROWS = (
    row(ZONE, "TXT dns-version.cluster.local.", 'NOERROR "1.1.0"', "the schema's version", "DNS-SD 2.2"),
    row(ZONE, "A dns-version.cluster.local.", "NOERROR", "NODATA", "RFC 2308 2.2"),
    row(CLUSTER_IP, f"A web.{SVC}", "NOERROR 10.96.0.20", "the cluster address", "DNS-SD 2.3.1"),
    row(CLUSTER_IP, f"AAAA web.{SVC}", "NOERROR fd00:96::20", "the cluster address", "DNS-SD 2.3.1"),
    row(CLUSTER_IP, "A WEB.Default.SVC.cluster.LOCAL.", "NOERROR 10.96.0.20", "letters of any case", "DNS-SD 2.1"),
    row(CLUSTER_IP, f"SRV _http._tcp.web.{SVC}", f"NOERROR 0 100 80 web.{SVC}", "a named port", "DNS-SD 2.3.2"),
    row(CLUSTER_IP, f"SRV _HTTP._TCP.web.{SVC}", f"NOERROR 0 100 80 web.{SVC}", "any case", "DNS-SD 2.1"),
    row(CLUSTER_IP, f"SRV _http._udp.web.{SVC}", "NXDOMAIN", "no such protocol", "DNS-SD 2.3.2"),
    row(CLUSTER_IP, f"SRV _https._tcp.web.{SVC}", "NXDOMAIN", "no such port", "DNS-SD 2.3.2"),
    row(CLUSTER_IP, f"A _http._tcp.web.{SVC}", "NOERROR", "the name is there, the type is not", "RFC 2308 2.2"),
    row(CLUSTER_IP, f"A _tcp.web.{SVC}", "NOERROR", "an empty non-terminal exists", "RFC 8020 2"),
    row(CLUSTER_IP, f"A _udp.web.{SVC}", "NXDOMAIN", "nothing stands below it", "RFC 8020 2"),
    row(CLUSTER_IP, f"MX web.{SVC}", "NOERROR", "NODATA", "RFC 2308 2.2"),
    row(CLUSTER_IP, f"TYPE65280 web.{SVC}", "NOERROR", "an unknown type is NODATA too", "RFC 3597 3"),
    row(CLUSTER_IP, f"HTTPS web.{SVC}", "NOERROR", "browsers and curl ask this", "RFC 9460 2.4"),
    row(CLUSTER_IP, f"ANY web.{SVC}", "NOERROR 10.96.0.20", "one type's records are enough", "RFC 8482 4.1"),
    row(CLUSTER_IP, f"ANY nope.{SVC}", "NXDOMAIN", "ANY finds no more than others", "RFC 8482 4"),
    row(CLUSTER_IP, f"A a.web.{SVC}", "NXDOMAIN", "nothing below a service with an address", "DNS-SD 2.3"),
    row(CLUSTER_IP, f"A *.{SVC}", "NXDOMAIN", "no wildcards: * is a label like any other", "DNS-SD 2"),
    row(CLUSTER_IP, "PTR 20.0.96.10.in-addr.arpa.", f"NOERROR web.{SVC}", "the way back", "DNS-SD 2.3.3"),
    row(CLUSTER_IP, f"PTR {'0.2' + '.0' * 22}.6.9.0.0.0.0.d.f.ip6.arpa.", f"NOERROR web.{SVC}",
        "the way back", "DNS-SD 2.3.3"),
    row(CLUSTER_IP, "A 20.0.96.10.in-addr.arpa.", "NOERROR", "NODATA", "RFC 2308 2.2"),
    row(CLUSTER_IP, "PTR 0.96.10.in-addr.arpa.", "NOERROR", "an empty non-terminal", "RFC 8020 2"),
    row(NOBODY, "PTR 21.0.96.10.in-addr.arpa.", "NXDOMAIN", "nobody has this address", "RFC 2308 2.1"),
    row(IPV4_ONLY, f"AAAA plain.{SVC}", "NOERROR", "NODATA: the other family may be asked", "RFC 4074 3"),
    row(IPV4_ONLY, f"SRV plain.{SVC}", "NOERROR", "a port without a name has no SRV record", "DNS-SD 2.3.2"),
    row(HEADLESS, f"A db.{SVC}", "NOERROR 10.244.1.5, 10.244.2.5", "each ready endpoint", "DNS-SD 2.4.1"),
    row(HEADLESS, f"AAAA db.{SVC}", "NOERROR fd00:244:0:2::5", "of its family", "DNS-SD 2.4.1"),
    row(HEADLESS, f"A db-0.db.{SVC}", "NOERROR 10.244.1.5", "by host name", "DNS-SD 2.4.1"),
    row(HEADLESS, f"AAAA db-0.db.{SVC}", "NOERROR", "NODATA: it has no such address", "RFC 2308 2.2"),
    row(HEADLESS, f"A 10-244-2-5.db.{SVC}", "NOERROR 10.244.2.5", "by a name given for it", "DNS-SD 2.1"),
    row(HEADLESS, f"A 10-244-1-5.db.{SVC}", "NXDOMAIN", "the host name stands in its place", "DNS-SD 2.1"),
    row(HEADLESS, f"AAAA fd00-244-0-2--5.db.{SVC}", "NOERROR fd00:244:0:2::5", "of IPv6", "DNS-SD 2.1"),
    row(HEADLESS, f"A db-1.db.{SVC}", "NXDOMAIN", "no such endpoint", "DNS-SD 2.4.1"),
    row(HEADLESS, f"SRV _postgres._tcp.db.{SVC}",
        f"NOERROR 0 100 5432 db-0.db.{SVC}, 0 100 5432 10-244-2-5.db.{SVC}, 0 100 5432 fd00-244-0-2--5.db.{SVC}",
        "each endpoint with each named port", "DNS-SD 2.4.2"),
    row(HEADLESS, "PTR 5.1.244.10.in-addr.arpa.", f"NOERROR db-0.db.{SVC}", "the way back", "DNS-SD 2.4.3"),
    row(HEADLESS, "PTR 5.2.244.10.in-addr.arpa.", f"NOERROR 10-244-2-5.db.{SVC}", "the way back", "DNS-SD 2.4.3"),
    row(MEMBERS, f"A members.{SVC}", "NOERROR 10.96.0.40", "it has an address of its own", "DNS-SD 2.3.1"),
    row(MEMBERS, f"A members-0.members.{SVC}", "NOERROR 10.244.1.6", "a host name is answered for",
        "CoreDNS, plugin kubernetes"),
    row(MEMBERS, f"A 10-244-1-7.members.{SVC}", "NXDOMAIN", "only by host name", "DNS-SD 2.3"),
    row(MEMBERS, f"SRV _postgres._tcp.members.{SVC}", f"NOERROR 0 100 5432 members.{SVC}",
        "the service's own name is the target", "DNS-SD 2.3.2"),
    row(MEMBERS, "PTR 6.1.244.10.in-addr.arpa.", f"NOERROR members-0.members.{SVC}", "the way back",
        "CoreDNS, plugin kubernetes"),
    row(EMPTY, f"A nobody.{SVC}", "NXDOMAIN", "no ready endpoint, no name", "DNS-SD 2.4.1"),
    row(EMPTY, f"SRV _http._tcp.nobody.{SVC}", "NXDOMAIN", "no ready endpoint, no name", "DNS-SD 2.4.2"),
    row(EXTERNAL, f"A old.{SVC}", "NOERROR www.outside.example.", "an alias", "DNS-SD 2.5", "www.outside.example."),
    row(EXTERNAL, f"AAAA old.{SVC}", "NOERROR www.outside.example.", "an alias", "DNS-SD 2.5", "www.outside.example."),
    row(EXTERNAL, f"CNAME old.{SVC}", "NOERROR www.outside.example.", "the alias itself", "RFC 1034 3.6.2"),
    row(NUMBER, f"A number.{SVC}", "NXDOMAIN", "an address is no name: it is not resolved",
        "Kubernetes documentation, Service: ExternalName"),
    row(ALIAS, f"A alias.{SVC}", f"NOERROR web.{SVC}, 10.96.0.20", "an alias is followed", "RFC 1034 4.3.2"),
    row(ALIAS, f"MX alias.{SVC}", f"NOERROR web.{SVC}", "to NODATA as well", "RFC 2308 2.2"),
    row(LOOP, f"A loop.{SVC}", f"NOERROR loop.{SVC}", "an alias of itself ends", "RFC 1034 3.6.2"),
    row(MACHINE, f"A vm1.vm.{SVC}", "NOERROR 192.168.50.100", "an endpoint need not be a pod", "DNS-SD 2.4.1"),
    row(MACHINE, "PTR 100.50.168.192.in-addr.arpa.", f"NOERROR vm1.vm.{SVC}", "whatever its address", "DNS-SD 2.4.3"),
    row(A_POD, f"A 10-244-1-2.{POD}", "NOERROR 10.244.1.2", "a pod by its address", "DNS-SD 1.0 2.6; CoreDNS pods"),
    row(A_POD, f"AAAA fd00-244-0-1--2.{POD}", "NOERROR fd00:244:0:1::2", "a pod by its address", "CoreDNS pods"),
    row(A_POD, f"AAAA 10-244-1-2.{POD}", "NOERROR", "NODATA", "RFC 2308 2.2"),
    row(NOBODY, f"A 10-244-1-3.{POD}", "NXDOMAIN", "no such pod (`pods verified`)", "CoreDNS pods"),
    row(NOBODY, "A 10-244-1-2.other.pod.cluster.local.", "NXDOMAIN", "not in this namespace", "CoreDNS pods"),
    row(NOBODY, f"A nope.{SVC}", "NXDOMAIN", "no such service", "RFC 2308 2.1"),
    row(NOBODY, "A nothing.svc.cluster.local.", "NXDOMAIN", "no such namespace", "RFC 2308 2.1"),
    row(NOBODY, f"A web.default.svc.cluster.local.{SVC}", "NXDOMAIN", "what a search path asks", "RFC 2308 2.1"),
    row(NOBODY, rf"A web\.{SVC}", "NXDOMAIN", "a dot within a label is no dot", "RFC 4343 2.1"),
    row(ZONE, f"A {SVC}", "NOERROR", "a name with names below it exists", "RFC 8020 2"),
    row(ZONE, "A svc.cluster.local.", "NOERROR", "a name with names below it exists", "RFC 8020 2"),
    row(ZONE, "A pod.cluster.local.", "NOERROR", "a name with names below it exists", "RFC 8020 2"),
    row(ZONE, "NS cluster.local.", "NOERROR ns.dns.cluster.local.", "the zone's own server", "RFC 1034 4.2.1"),
    row(ZONE, "A ns.dns.cluster.local.", "NOERROR 10.96.0.10", "which has an address", "RFC 1034 4.2.1"),
    row(ZONE, "AAAA ns.dns.cluster.local.", "NOERROR fd00:96::a", "of each family", "RFC 1034 4.2.1"),
    row(ZONE, "SOA cluster.local.", "NOERROR ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5",
        "the zone's own", "RFC 1034 4.2.1"),
    row(ZONE, "NS 96.10.in-addr.arpa.", "NOERROR ns.dns.cluster.local.", "of a reverse zone too", "RFC 1034 4.2.1"),
)  # fmt: skip
# Names in none of our zones: asked upstream, or refused where there is nobody to ask.
OTHERS = ("www.outside.example.", "local.", "xcluster.local.", "1.50.168.192.in-addr.arpa.", ".", "com.")


@dataclass(frozen=True)
class WireRow:
    """A query's bytes, and the code of the answer (None: there is none)."""

    given: str
    wire: Callable[[], bytes]
    code: str | None
    why: str
    source: str


WEB = f"web.{SVC}"
HEADER = bytes.fromhex("abcd0100 0001 0000 0000 0000")
QUESTION = b"\x03web\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01"


def _plain(kind: str = "A", name: str = WEB, edns: int = -1) -> dns.message.QueryMessage:
    return dns.message.make_query(name, kind, use_edns=False if edns < 0 else edns)


def _opcode(number: int) -> bytes:
    query = _plain()
    query.set_opcode(dns.opcode.Opcode(number))
    return query.to_wire()


def _type(number: int) -> bytes:
    return HEADER + QUESTION[:-4] + number.to_bytes(2) + b"\x00\x01"


def _class(number: int) -> bytes:
    return HEADER + QUESTION[:-2] + number.to_bytes(2)


def _options() -> bytes:
    query = dns.message.make_query(
        WEB, "A", use_edns=0, options=[dns.edns.GenericOption(dns.edns.OptionType.make("65001"), b"x" * 40)]
    )
    return query.to_wire()


def _counts(*counts: int) -> bytes:
    return HEADER[:4] + b"".join(count.to_bytes(2) for count in counts)


def _signed() -> bytes:
    name, kind = b"\x03key\x00", (250).to_bytes(2) + (255).to_bytes(2) + bytes(4)
    data = b"\x0bhmac-sha256\x00" + bytes(6) + (300).to_bytes(2) + bytes(2) + b"\xab\xcd" + bytes(4)
    return _counts(1, 0, 0, 1) + QUESTION + name + kind + len(data).to_bytes(2) + data


OPT = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
WIRE = (
    WireRow("a plain query", lambda: HEADER + QUESTION, "NOERROR", "it is one", "RFC 1035 4.1"),
    WireRow("EDNS version 0", _plain(edns=0).to_wire, "NOERROR", "it is known", "RFC 6891 6.1.3"),
    WireRow("EDNS version 1", _plain(edns=1).to_wire, "BADVERS", "a version to come", "RFC 6891 6.1.3"),
    WireRow("an unknown EDNS option", _options, "NOERROR", "it is passed over", "RFC 6891 6.1.2"),
    WireRow("two OPT records", lambda: _counts(1, 0, 0, 2) + QUESTION + OPT * 2, "FORMERR", "one is the most",
            "RFC 6891 6.1.1"),
    WireRow("the opcode IQUERY", lambda: _opcode(1), "NOTIMP", "an opcode that is gone", "RFC 3425 3"),
    WireRow("the opcode STATUS", lambda: _opcode(2), "NOTIMP", "not implemented", "RFC 8906 3.1.4"),
    WireRow("the opcode NOTIFY", lambda: _opcode(4), "NOTIMP", "not implemented", "RFC 8906 3.1.4"),
    WireRow("the opcode UPDATE", lambda: _opcode(5), "NOTIMP", "not implemented", "RFC 2136 3.1"),
    WireRow("an unknown opcode", lambda: _opcode(15), "NOTIMP", "not implemented", "RFC 8906 3.1.4"),
    WireRow("AXFR", lambda: _type(252), "REFUSED", "no transfers", "RFC 5936 2.2.1"),
    WireRow("IXFR", lambda: _type(251), "REFUSED", "no transfers", "RFC 5936 2.2.1"),
    WireRow("the question for OPT", lambda: _type(41), "FORMERR", "no type of a question", "RFC 6891 6.1.1"),
    WireRow("the question for TSIG", lambda: _type(250), "FORMERR", "no type of a question", "RFC 8945 4.2"),
    WireRow("the class CH", lambda: _class(3), "REFUSED", "no zone of that class", "RFC 8906 3.1"),
    WireRow("the class ANY", lambda: _class(255), "REFUSED", "no zone of that class", "RFC 8906 3.1"),
    WireRow("no question", lambda: _counts(0, 0, 0, 0), "FORMERR", "nothing is asked", "RFC 9619 3"),
    WireRow("two questions", lambda: _counts(2, 0, 0, 0) + QUESTION * 2, "FORMERR", "one is the most", "RFC 9619 4"),
    WireRow("65,535 questions", lambda: _counts(65535, 0, 0, 0) + QUESTION, "FORMERR", "they are not there",
            "RFC 9619 4"),
    WireRow("a name that points to itself", lambda: HEADER + b"\xc0\x0c\x00\x01\x00\x01", "FORMERR",
            "a loop", "RFC 1035 4.1.4"),
    WireRow("a name that points ahead", lambda: HEADER + b"\xc0\xff\x00\x01\x00\x01", "FORMERR",
            "to nowhere", "RFC 1035 4.1.4"),
    WireRow("a label longer than 63", lambda: HEADER + b"\x40" + b"a" * 64 + b"\x00\x00\x01\x00\x01", "FORMERR",
            "no such label", "RFC 1035 2.3.4"),
    WireRow("a name longer than 255", lambda: HEADER + (b"\x3f" + b"a" * 63) * 4 + b"\x00\x00\x01\x00\x01",
            "FORMERR", "no such name", "RFC 1035 2.3.4"),
    WireRow("a name that does not end", lambda: HEADER + b"\x03web", "FORMERR", "cut", "RFC 1035 4.1"),
    WireRow("a question without a class", lambda: HEADER + QUESTION[:-2], "FORMERR", "cut", "RFC 1035 4.1"),
    WireRow("bytes after the query", lambda: HEADER + QUESTION + b"rubbish", "FORMERR", "junk", "RFC 8906 3.1"),
    WireRow("a record that is announced only", lambda: _counts(1, 0, 0, 1) + QUESTION, "FORMERR", "cut",
            "RFC 1035 4.1"),
    WireRow("a signature by a key that nobody has", _signed, "NOERROR", "answered unsigned", "CoreDNS"),
    WireRow("a response", lambda: HEADER[:2] + b"\x81\x00" + HEADER[4:] + QUESTION, None,
            "two servers would answer each other for ever", "RFC 8906 2"),
    WireRow("less than a header", lambda: HEADER[:11], None, "there is no ID to answer to", "RFC 1035 4.1.1"),
)  # fmt: skip
