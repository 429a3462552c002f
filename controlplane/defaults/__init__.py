"""What Kubernetes fills in when the author of a manifest left it out: one file a family of kinds.

Every function takes an object and returns a new one; nothing given is changed. What is written down stays as
it was written.

Source: k8s.io/kubernetes pkg/apis/*/v1/defaults.go.
"""
