"""``modelyard models deprecate``, ``delete``, ``restore``: the end of versions."""

from modelyard.cli.common import client, confirm
from modelyard.cli.output import format_date, print_json


def deprecate(name: str, because: str, *, as_json: bool) -> None:
    with client() as platform:
        version = platform.registry.deprecate(name, because=because)
    if as_json:
        print_json(version)
    else:
        print(f"{version.model}/{version.number} is deprecated; whoever deploys it is told why.")


def undeprecate(name: str, *, as_json: bool) -> None:
    with client() as platform:
        version = platform.registry.undeprecate(name)
    if as_json:
        print_json(version)
    else:
        print(f"{version.model}/{version.number} is not deprecated.")


def delete(name: str, because: str, *, yes: bool, as_json: bool) -> None:
    with client() as platform:
        found = platform.registry.find(name)
        told = f"{found.model}/{found.number}"
        confirm(f"Delete {told}?", yes)
        version = platform.registry.delete(told, because=because)
    if as_json:
        print_json(version)
    else:
        until = "" if version.deleted is None else format_date(version.deleted.until or 0.0)
        print(f"{told} is deleted. Until {until} it can be restored: modelyard models restore {told}")


def delete_model(name: str, *, yes: bool, as_json: bool) -> None:
    with client() as platform:
        found = platform.model(name)
        confirm(f"Delete the model {name} with its {len(found.versions)} version(s)?", yes)
        platform.delete_model(name)
    if as_json:
        print_json({"deleted": name})
    else:
        print(f"The model {name} is deleted.")


def restore(name: str, because: str, *, as_json: bool) -> None:
    with client() as platform:
        was_there = platform.registry.find(name).deleted is None
        version = platform.registry.restore(name, because=because)
    if as_json:
        print_json(version)
    elif was_there:
        print(f"{version.model}/{version.number} is there; it was not deleted.")
    else:
        print(f"{version.model}/{version.number} is there again.")
