"""What ``modelyard environments`` does: what is built for the models, and for which; and cleaning up."""

from modelyard.cli.common import client
from modelyard.cli.output import format_date, print_facts, print_json, print_table
from modelyard.client.answers import EnvironmentInfo
from modelyard.client.synchronous import Client
from modelyard.core.errors import NotFound
from modelyard.core.units import format_bytes


def list_environments(*, as_json: bool) -> None:
    with client() as platform:
        environments = platform.environments()
    if as_json:
        print_json(environments)
        return
    if not environments:
        print("No environments yet; the first deployment builds one.")
        return
    print_table(
        ["ENVIRONMENT", "PACKAGES", "SIZE", "PYTHON", "BUILT", "LAST USED", "USED BY"],
        [_row(environment) for environment in environments],
        right=(1, 2),
    )
    total = sum(environment.size for environment in environments)
    print(
        f"\n{len(environments)} environments, {format_bytes(total)} (files that two of them share counted twice)."
    )


def show(id: str, *, as_json: bool) -> None:
    """One, by its id or the beginning of it. Raises NotFound."""
    with client() as platform:
        environment = one_of(platform, id)
    if as_json:
        print_json(environment)
        return
    _, count, size, python, built, used, _ = _row(environment)
    print_facts(
        [
            ("environment", environment.id),
            ("python", python),
            ("size", size),
            ("built", built),
            ("last used", used),
            ("used by", "\n".join(_users(environment)) or "nobody; it is removed when nothing needs it"),
            ("asked for", "\n".join(environment.requirements) or "nothing"),
            ("packages", f"{count}\n" + "\n".join(environment.packages)),
        ]
    )


def one_of(platform: Client, id: str) -> EnvironmentInfo:
    """The environment whose id begins so. Raises NotFound, also for a beginning of several."""
    fitting = [each for each in platform.environments() if each.id.startswith(id)]
    if len(fitting) != 1:
        several = f"; it could be {', '.join(each.id[:16] for each in fitting)}" if fitting else ""
        raise NotFound(
            f"There is no one environment {id!r}{several}. See: modelyard environments", field="id"
        )
    return fitting[0]


def clean(older_than: float | None, *, dry_run: bool, as_json: bool) -> None:
    """Raises Unavailable when it cannot be told what is in use."""
    with client() as platform:
        told = platform.clean_environments(older_than=older_than, dry_run=dry_run)
    if as_json:
        print_json(told)
        return
    if told.removed:
        print_table(
            ["ENVIRONMENT", "SIZE", "FREED", "LAST USED"],
            [
                [
                    each.id[:16],
                    format_bytes(each.size),
                    format_bytes(each.freed),
                    format_date(each.last_used),
                ]
                for each in told.removed
            ],
            right=(1, 2),
        )
        print()
    done = "would be removed" if dry_run else "removed"
    shared = sum(each.size for each in told.removed) - told.freed
    note = f" ({format_bytes(shared)} more are shared with other files: uv cache prune)" if shared else ""
    print(f"{len(told.removed)} {done}; that frees {format_bytes(told.freed)}{note}.")
    stay = [
        f"{len(ids)} {why}"
        for ids, why in (
            (told.used, "in use"),
            (told.recent, "unused for a short time only (--older-than)"),
            (told.busy, "being built or tried"),
        )
        if ids
    ]
    if stay:
        print(f"The others stay: {', '.join(stay)}.")


def _row(environment: EnvironmentInfo) -> list[str]:
    return [
        environment.id[:16],
        str(len(environment.packages)),
        format_bytes(environment.size),
        environment.interpreter,
        format_date(environment.created),
        "-" if environment.last_used is None else format_date(environment.last_used),
        ", ".join(user.endpoint for user in environment.used_by) or "-",
    ]


def _users(environment: EnvironmentInfo) -> list[str]:
    return [f"{user.endpoint} ({user.model} v{user.version})" for user in environment.used_by]
