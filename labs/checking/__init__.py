"""Checks: pytest as the language in which a lab says what it asks for.

    run_checks(definition, lab, submission)
         │ the submission's files take their seats; their process cannot reach anything (agents/seats.py)
         v
    pytest, in a process of its own, with our plugin ──one JSON line a check──> Report

run       run_checks, and the process          report    results as values, and their JSON
plugin    marks and fixtures                   show      results as text
ground    the lab as a check sees it           probe     packets that are remembered, so that a failure can tell
"""
