"""What runs on a node: each agent watches the API, translates (desired/), renders, and applies to its machine."""
