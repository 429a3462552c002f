"""Errors that a command shows as one line: the place, the fact, the next step."""


class LabError(Exception):
    """Something the caller can mend; the command prints it and exits with 2."""


class CheckFailed(Exception):
    """What was checked does not hold; the command has told the story and exits with 1."""
