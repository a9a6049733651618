"""The command line: ``modelyard up | deploy | predict | …``, and the supervisor that keeps the platform up.

``main`` is the entrance; each ``*_commands`` file declares a group of commands and imports what they
need only when they run, so that ``--help`` stays fast. Commands speak to the platform through the
client. ``start`` brings the platform up; ``supervisor`` is what it leaves running, small, to restart whichever
program dies.
"""
