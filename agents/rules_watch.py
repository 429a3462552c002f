"""Notices when somebody else has changed a node's rules, such as a student with `nft flush ruleset`.

    once in a second: whose was the last nft transaction? --not ours--> every agent with rules looks after them

The kernel counts the transactions of a network namespace. All of ours go through one NodeKernel, which
knows how far they bring the count, so a look costs one small message, however many rules there are.

Source: linux/netfilter/nf_tables.h, NFT_MSG_GETGEN.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from agents.node_kernel import NodeKernel
from netfns.kernel import CommandError

log = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between two looks


class RulesWatch:
    """Watches one node; `look` are called, one after the other, when its rules were changed by somebody else."""

    def __init__(self, kernel: NodeKernel, look: Sequence[Callable[[], Awaitable[None]]]) -> None:
        self._kernel = kernel
        self._look = tuple(look)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            if await asyncio.to_thread(self._kernel.rules_changed_elsewhere):
                for look in self._look:
                    try:
                        await look()
                    except CommandError as error:  # looked at again at the next change
                        log.warning("%s: %s", self._kernel.name, error)
