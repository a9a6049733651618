"""Every decision as a pure object or function of values and a clock passed in.

No sockets, no sleeping, no threads: the node and the supervisor drive these objects with real time,
and a simulation can drive the very same objects with virtual time. Nothing here may do I/O.
"""
