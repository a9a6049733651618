"""What every program of ours does to the machine it runs on: locks, files replaced whole, log lines,
processes, addresses, the folders and keys of a home.

Small, and of the standard library but for the log's JSON: the supervisor lives on this room. It knows
core and nothing else; control plane, node and command line use it, ``policy`` and ``client`` do not.
"""
