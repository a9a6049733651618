"""The programs of the platform on this machine, by the names of their locks."""

MODULES = {"node": "modelyard.serve", "control": "modelyard.web"}
ADDRESSES = {"node": ("node", "grpc"), "control": ("control",)}  # the ports that each listens on
SUPERVISOR = "supervisor"
