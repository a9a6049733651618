"""The addresses of the control API, one file per group.

Each is thin: read the request, ask a room, answer a noun. Whatever can go wrong is raised by the room
as one of our errors and becomes the one error body in ``control.errors``.
"""
