"""Loads texts in the namespace that it is started in, by nft or by topo.nft, and prints what they left. Started by
test_nft.py.

    python nft_state.py nft|topo < [text, …]

Output: {"results": [[status, error]…], "fast": how many went by raw netlink, "ruleset": as nft lists it, "elsewhere":
whether anybody else has changed the rules, asked after the texts, after a table of somebody else's, and again}.
"""

import json
import subprocess
import sys
from typing import Any

from topo.enter import NETWORK, Namespaces
from topo.nft import Nft


class CountingNft(Nft):
    """Counts the texts that raw netlink took."""

    fast = 0

    def _fast(self, text: str) -> bool:
        taken = super()._fast(text)
        self.fast += taken
        return taken


def main() -> None:
    results: list[Any] = []
    nft = CountingNft(Namespaces.of_thread(NETWORK))
    for text in json.load(sys.stdin):
        if sys.argv[1] == "nft":
            done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True)
            results.append([done.returncode, done.stderr])
        else:
            completed = nft.run(text)
            results.append([completed.status, completed.stderr])
    ruleset = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    elsewhere = [nft.changed_elsewhere()]
    subprocess.run(["nft", "add", "table", "ip", "others"], check=True)
    elsewhere += [nft.changed_elsewhere(), nft.changed_elsewhere()]
    json.dump({"results": results, "fast": nft.fast, "ruleset": ruleset, "elsewhere": elsewhere}, sys.stdout)


if __name__ == "__main__":
    main()
