"""Environments: the locked sets of dependencies that models run in, one virtual environment each.

A model's requirements are resolved once to a lock (exact versions), and the lock is installed once into
a virtual environment of its own that sees nothing of Modelyard's packages. Models with the same lock
share it. Read ``environment`` first: it walks through ``requirements`` (what was asked for), ``sources``
(where packages come from: pip's and uv's configuration), ``torch_build`` (which PyTorch suits the
machine), ``uv`` (the tool that resolves and installs) and ``locks`` (several processes at once).
"""
