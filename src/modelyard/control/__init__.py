"""The control plane: the API server of one home, and the loops that run beside it.

``platform`` puts the rooms together (database, blobs, target, reconciler, runner, janitor) and starts
and stops them; ``app`` is the HTTP surface over it, one file per group of addresses; ``edge`` stands
in front of every request (who may come in, how much they may bring, what goes into the log);
``server`` binds, announces the address, and makes sure that a home has one control plane. ``doctor``
examines a home for what a crash may have left. No prediction passes through here.
"""
