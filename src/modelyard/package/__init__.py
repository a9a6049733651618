"""Environments: the locked sets of dependencies that models run in, one virtual environment each.

A model's requirements are resolved once to a lock (exact versions), and the lock is installed once into
a virtual environment of its own that sees nothing of Modelyard's packages. Models with the same lock
share it. Read ``environment`` first: it walks through ``requirements`` (what was asked for), ``interpreter``
(the Python it is made with), ``sources`` (where packages come from: pip's and uv's configuration),
``torch_build`` (which PyTorch suits the machine), ``build`` and ``uv`` (the tool that resolves and installs),
``conflict`` (why it could not) and ``locks`` (several processes at once). ``system`` looks for what a model
needs of the machine beside Python.
"""
