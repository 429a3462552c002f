"""Server-side apply: who owns which field of an object, and what that means when somebody writes.

    apply --leaves.py--> fields of the configuration --owners.py--> metadata.managedFields
               `--apply.py--> conflicts? merge, drop what this manager no longer names

Fields are tracked from the first server-side apply on; before it, an object costs nothing more. A real API server
tracks from the start; the difference is one name: what was there before belongs to the manager `before-first-apply`,
as it did in Kubernetes while the feature was young.

Source: Kubernetes documentation "Server-Side Apply"; k8s.io/structured-merge-diff.
"""
