"""The controllers: each watches a few kinds, compares what is wanted with what is, and writes the difference
to the API.

    informers --changed--> Reconciler.enqueue(key) --> reconcile(key): catch up, look, write --> API

They never talk to each other: a Deployment's controller writes a ReplicaSet, whose controller writes pods,
which the scheduler binds. One file a controller; `run()` works until cancelled.

Source: Kubernetes documentation, "Controllers"; k8s.io/kubernetes pkg/controller.
"""
