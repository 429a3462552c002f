"""The control plane: everything that decides. Plain asynchronous Python; it needs no kernel, no root and no
network.

    YAML --> http/ --> api.py --> store.py --watch--> informer.py --> controllers/, scheduling/ --> api.py …
             a face    what a     objects,            a local         what is wanted against
                       write      revisions           picture         what is: write the difference
                       means

Where to begin reading:

- kinds.py       the table of kinds; each row names its schema, defaults/ and validation/
- api.py         create, replace, patch, delete, watch: the same for every kind
- store.py       objects, one counter of revisions, watches
- informer.py, reconciler.py   how everybody who reacts is built, here and in the agents
- manager.py     all parts put together; bootstrap.py fills a new cluster
- custom/        kinds that users bring along; managed/  who owns which field (server-side apply)
- http/          Kubernetes' HTTP API; client.py and apply.py are its other end

Invariants: objects are never changed in place; a write is one step of the event loop; controllers talk to
each other only through objects. Nothing in this package imports topo or netfns.
"""
