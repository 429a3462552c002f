"""The commands of `minipod`, a few in a file; each is a function of its parsed arguments that returns an exit code.

Importing a command must stay cheap: `minipod exec` is typed more often than anything else.
"""
