"""The pages at the control address: the endpoints with their traffic, and a form to try each one.

Rendered on the server with Jinja2, styled by one file of our own, usable without JavaScript and
without the internet. ``pages`` are the routes, ``form`` makes a form from a signature and a record
from what was filled in, ``node_call`` sends the record to the node. ``python -m modelyard.web`` is the
control plane's program: the control API with these pages mounted.
"""
