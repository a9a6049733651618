"""The nouns of Modelyard as plain data, the one table of errors, units, and settings.

Everything here is a value: structs that can be compared, written as JSON and read back. Core
imports nothing of ours and does no I/O, with one stated exception (``settings``: it reads the
configuration file and the environment). Every other room speaks to its neighbours in these nouns.
"""
