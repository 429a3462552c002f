"""PodDisruptionBudgets: keeps their status, which says how many pods may go now. Evictions count for themselves."""

from __future__ import annotations

from controlplane import disruption
from controlplane.api import API
from controlplane.informers import Informers
from controlplane.meta import Key, Obj, key_of, with_condition
from controlplane.reconciler import Reconciler

INTERVAL = 0.1  # seconds between two looks at the same budget


class DisruptionController:
    """Watches budgets and pods, writes the status of budgets."""

    def __init__(self, api: API, informers: Informers) -> None:
        self._api = api
        self._budgets = informers["PodDisruptionBudget"]
        self.reconciler = Reconciler("disruption", self._reconcile, min_interval=INTERVAL)
        self._budgets.on_change(lambda old, new: self.reconciler.enqueue(key_of(new or old or {})))
        informers["Pod"].on_change(self._pod_changed)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if not self._budgets.objects:
            return
        for pod in (old, new):
            if pod is not None:
                self.reconciler.enqueue_all(
                    key_of(budget) for budget in disruption.budgets_of(self._api, pod)
                )

    async def _reconcile(self, key: Key) -> None:
        self._budgets.catch_up()
        budget = self._budgets.get(*key)
        if budget is None or "deletionTimestamp" in budget["metadata"]:
            return
        status = disruption.status_of(self._api, budget)
        allowed = status["disruptionsAllowed"] > 0
        status["conditions"] = with_condition(
            (budget.get("status") or {}).get("conditions"),
            "DisruptionAllowed",
            str(allowed),
            reason="SufficientPods" if allowed else "InsufficientPods",
            message="",
            observedGeneration=budget["metadata"]["generation"],
        )
        self._api.update_status("PodDisruptionBudget", key[1], key[0], status)
