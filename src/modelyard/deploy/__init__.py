"""From a version to replicas that answer, and from one revision to the next without a gap.

``plan`` says what one deployment asks of a node (a Pool), ``reconcile`` compares what is wanted with
what a node reports and decides — a pure function, run again and again until nothing is left to do —
and ``reconciler`` is the thread that feeds it and carries its decisions out. A *target* is a place
that runs replicas: ``target`` is the interface, and there is one file per target (``local``: the node
on this machine). A target is told everything at once, as a table of routes, and never step by step,
so that a restart on either side needs no memory of what was said before.
"""
