"""What ``modelyard keys``, ``projects``, ``audit`` and ``whoami`` do."""

import time
from collections.abc import Sequence

from modelyard.cli.common import client
from modelyard.cli.output import format_date, print_facts, print_json, print_table, say
from modelyard.client.answers import KeyMade
from modelyard.core.access import ApiKey, Project, Role
from modelyard.core.units import parse_seconds


def create_key(
    name: str,
    project: str | None,
    role: Role | None,
    endpoints: Sequence[str],
    expires: str | None,
    *,
    admin: bool,
    as_json: bool,
) -> None:
    """Raises Conflict for a name that a key has or had."""
    expires_in = None if expires is None else parse_seconds(expires, field="expires")
    with client() as platform:
        made = platform.access.create_key(
            name, project=project, role=role, endpoints=endpoints, expires_in=expires_in, admin=admin
        )
    _tell(made, as_json=as_json)


def list_keys(*, as_json: bool) -> None:
    """Those that have ended, too."""
    with client() as platform:
        found = platform.access.keys()
    if as_json:
        print_json(found)
    elif not found:
        print("No keys but the home's own. Make one: modelyard keys create NAME --role operator")
    else:
        print_table(
            ["ID", "NAME", "PROJECT", "MAY", "STATE", "CREATED", "EXPIRES", "LAST USED"],
            [_row(key) for key in found],
        )


def revoke(named: str, because: str, *, as_json: bool) -> None:
    """Raises NotFound."""
    with client() as platform:
        key = platform.access.revoke_key(named, because=because)
    if as_json:
        print_json(key)
    else:
        print(f"The key {key.name} ({key.id}) opens nothing any more.")


def rotate(named: str, expires: str | None, *, as_json: bool) -> None:
    """Raises NotFound, Conflict."""
    expires_in = None if expires is None else parse_seconds(expires, field="expires")
    with client() as platform:
        made = platform.access.rotate_key(named, expires_in=expires_in)
    _tell(made, as_json=as_json)


def create_project(name: str, because: str, *, as_json: bool) -> None:
    """Raises Conflict."""
    with client() as platform:
        project = platform.access.create_project(name, because=because)
    if as_json:
        print_json(project)
    else:
        print(
            f"The project {name} is there. Who is to work in it: modelyard keys create NAME --project {name}"
        )


def list_projects(*, as_json: bool) -> None:
    """Those that this user sees."""
    with client() as platform:
        found = platform.access.projects()
    if as_json:
        print_json(found)
    else:
        _table(found)


def show_project(name: str, *, as_json: bool) -> None:
    """Raises NotFound."""
    with client() as platform:
        project = platform.access.project(name)
    if as_json:
        print_json(project)
    else:
        _table([project])


def delete_project(name: str, because: str, *, as_json: bool) -> None:
    """Raises NotFound, Conflict."""
    with client() as platform:
        platform.access.delete_project(name, because=because)
    if as_json:
        print_json({"deleted": name})
    else:
        print(f"The project {name} is deleted.")


def move(model: str, to: str, because: str, *, as_json: bool) -> None:
    """Raises NotFound, Conflict."""
    with client() as platform:
        moved = platform.access.move_model(model, to, because=because)
    if as_json:
        print_json(moved)
        return
    also = f", and so are its endpoints: {', '.join(moved.endpoints)}" if moved.endpoints else ""
    print(f"{model} is in the project {to} now{also}.")


def audit(about: str | None, limit: int, *, as_json: bool) -> None:
    """The newest first."""
    with client() as platform:
        found = platform.access.audit(about, limit=limit)
    if as_json:
        print_json(found)
    elif not found:
        print("Nothing was changed yet." if about is None else f"Nothing of {about} was changed.")
    else:
        print_table(
            ["WHEN", "WHO", "WHAT", "OF", "WHY"],
            [
                [format_date(each.time, exact=True), each.who, each.what, each.subject, each.why]
                for each in found
            ],
        )


def whoami(*, as_json: bool) -> None:
    """By the key that is sent."""
    with client() as platform:
        told = platform.access.me()
    if as_json:
        print_json(told)
        return
    who = told.name or ("the home's own key" if told.authentication else "no key is asked for here")
    facts = [
        ("who", who),
        ("project", told.project or "all"),
        ("role", "admin of the installation" if told.installation else told.role),
    ]
    if told.endpoints:
        facts.append(("endpoints", ", ".join(told.endpoints)))
    print_facts(facts)


def _tell(made: KeyMade, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    say(f"The key {made.key.name}: {_may(made.key)}. Keep it now; it is not shown again.")
    print(made.secret)


def _row(key: ApiKey) -> list[str]:
    state = "revoked" if key.revoked is not None else "expired" if key.over(time.time()) else "good"
    dates = [
        format_date(each) if each is not None else "-" for each in (key.created, key.expires, key.used)
    ]
    return [key.id, key.name, key.project or "-", _may(key), state, *dates]


def _may(key: ApiKey) -> str:
    if key.project is None:
        return "everything"
    if key.role != "caller":
        return key.role
    return f"predict on {', '.join(key.endpoints)}" if key.endpoints else "predict"


def _table(found: Sequence[Project]) -> None:
    print_table(
        ["PROJECT", "MODELS", "ENDPOINTS", "KEYS", "CREATED", "BY"],
        [
            [
                each.name,
                str(each.models),
                str(each.endpoints),
                str(each.keys),
                "-" if each.created is None else format_date(each.created),
                each.who or "-",
            ]
            for each in found
        ],
        right=(1, 2, 3),
    )
