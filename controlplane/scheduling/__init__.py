"""The scheduler: which node runs a pod.

scheduler.py   watches pods and nodes, filters, scores, binds
placement.py   may this pod run on that node, by labels and taints?
ledger.py      what is taken on each node: pods, resources, host ports
neighbours.py  which pods may or should be near which: affinity, anti-affinity, spreading
"""
