"""The published schemas of Kubernetes' kinds, and the walk that holds objects against them."""
