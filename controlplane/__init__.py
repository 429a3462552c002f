"""The deciders."""
