"""``modelyard doctor``: print what the control plane's examination of a home finds."""

from modelyard.cli.output import print_json
from modelyard.client.location import find_home


def run(*, repair: bool, as_json: bool) -> bool:
    """Examine, and repair if asked; True when the home is in order at the end."""
    from modelyard.control import doctor

    home = find_home()
    if not home.root.is_dir():
        if as_json:
            print_json({"findings": [], "healthy": True})
        else:
            print(f"There is no home at {home.root} yet; nothing to examine.")
        return True
    raise NotImplementedError(doctor)
