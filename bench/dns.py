"""Names asked of our DNS server and of dnsmasq, with the same records and the same questions.

    dnsload.c, 32 questions always on their way --UDP--> netfns.dns_server | dnsmasq       in one sandbox, in turn

Of ten questions six are for an address, two for one of the other family (no answer), one for a name that does not
exist, one for a port (SRV) or the way back (PTR). `first` asks every question once, of a server that has just started;
`then` goes on for some seconds, when our server has every answer ready.
A change is a service that comes: from the writing of its record to the first answer that has it.

Aim: as many as dnsmasq.
"""

from bench.support.common import Report, arguments, counts, in_sandbox, median, milliseconds

SERVERS = {"our_server": "Minipod", "dnsmasq": "dnsmasq"}


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument(
        "--counts", type=counts, default=[100, 1000, 10000], help="services (default 100,1000,10000)"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load (default 2)")
    options = parser.parse_args()
    report = Report("dns")
    rates, changes = [], []
    for count in options.counts:
        words = ("bench.support.asking", str(count), str(options.seconds))
        runs = [in_sandbox(*words) for _ in range(options.repeat)]
        found = {
            server: {key: median([run[server][key] for run in runs]) for key in runs[0][server]}
            for server in SERVERS
        }
        ours, theirs = found["our_server"], found["dnsmasq"]
        cells = [f"{each[when]:,.0f}" for when in ("first", "then") for each in (ours, theirs)]
        ratios = [f"{ours[when] / theirs[when]:.2f} x" for when in ("first", "then")]
        rates.append([str(count), *cells[:2], ratios[0], *cells[2:], ratios[1]])
        both = [f"{milliseconds(each['change'])}, {each['memory'] / 1024:.0f} MiB" for each in (ours, theirs)]
        changes.append([str(count), *both])
    header = ["services", "first: Minipod", "dnsmasq", "ratio", "then: Minipod", "dnsmasq", "ratio"]
    report.table("Answers a second", header, rates)
    report.table("One change, and memory", ["services", *SERVERS.values()], changes)
    if options.save:
        report.save()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
