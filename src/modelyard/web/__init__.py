"""The pages at the control address: the endpoints with a form to try each one, and the registry.

Rendered on the server with Jinja2, styled by files of our own, usable without JavaScript (but for uploads) and
without the internet. ``pages`` are the routes of endpoints and puts all together, ``models``, ``model``, ``comparison``,
``changes``, ``upload``, ``catalog`` and ``jobs`` those of the registry, which read through ``visitor``; ``page`` is what
every page has. ``form`` makes a form from a signature and a record
from what was filled in, ``node_call`` sends the record to the node. ``python -m modelyard.web`` is the
control plane's program: the control API with these pages mounted.
"""
