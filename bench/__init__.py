"""Side-by-side measurements. Each file is one: it runs both sides in one run, prints a table and a ratio.

`scripts/bench pods --counts 50,200` runs one of them, `scripts/bench` all; with `--save` a bench puts its tables into
bench/RESULTS.md.
"""
