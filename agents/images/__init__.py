"""Containers without images: what a container runs, chosen by its `image:` from a catalogue.

    image, command, args, ports
        -> reference.py     the image's full name, whichever way it was written
        -> catalogue.yaml   the row: entrypoint, binaries, files, environment
        -> catalogue.py     resolve() -> Program: what the runtime starts
        -> standins.py      "module:function" of a stand-in, or a plain argv that exists in the sandbox

A stand-in is one small file here that behaves, on the network and in its log, like the program in the real
image as far as tests and lessons read it. It runs in one of two ways, with the same code: forked from the
runtime's warm parent (the container's own process; cheap, for every module is imported already) or as an
executable file in the container's root (`kubectl exec POD -- /agnhost connect …`), which is a line of shell
that calls this package's __main__.py.

Invariant: importing this package imports nothing else; an executable's start pays only for what it uses.
"""
