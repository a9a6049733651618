"""``modelyard keys``, ``modelyard projects``, ``modelyard audit``, ``modelyard whoami``: who may do what, and who did."""

from typing import Annotated, Literal

import typer

from modelyard.cli.common import AsJson, InProject

keys = typer.Typer(
    help="API keys: of people and programs, each of a project and with a role.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
projects = typer.Typer(
    help="Projects: groups of models and all that belongs to them, which know nothing of each other.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
KeyName = Annotated[str, typer.Argument(metavar="KEY", help="Its id or its name.")]
ProjectName = Annotated[str, typer.Argument(metavar="NAME", help="The project.")]
Why = Annotated[str, typer.Option(metavar="WHY", help="For the audit.")]
Expires = Annotated[
    str | None, typer.Option(metavar="TIME", help="When it ends, from now: 12h, 30d (never).")
]


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what it is for: the audit says it.")],
    project: InProject = None,
    role: Annotated[
        Literal["viewer", "operator", "admin"] | None,
        typer.Option(help="What it may; each may what those before it may (viewer)."),
    ] = None,
    predict_only: Annotated[
        bool, typer.Option("--predict-only", help="It may predict, and see what it predicts with.")
    ] = False,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only on this endpoint (again for more); it may predict only, then."
        ),
    ] = None,
    expires: Expires = None,
    admin: Annotated[bool, typer.Option("--admin", help="It may everything, in all projects.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown this once: nobody can show it again."""
    from modelyard.cli import access as room

    if admin and (project or role or predict_only or endpoint):
        raise typer.BadParameter(
            "A key with --admin may everything; leave the rest out.", param_hint="--admin"
        )
    if role is not None and (predict_only or endpoint):
        raise typer.BadParameter(
            "A key that may predict only has no role; leave --role out.", param_hint="--role"
        )
    room.create_key(
        name,
        project,
        "caller" if predict_only or endpoint else role,
        endpoint or [],
        expires,
        admin=admin,
        as_json=as_json,
    )


@keys.command("list")
def list_keys(project: InProject = None, as_json: AsJson = False) -> None:
    """Show the keys: whose, for what, until when, last used when."""
    from modelyard.cli import access as room

    room.list_keys(as_json=as_json)


@keys.command()
def revoke(key: KeyName, because: Why = "", as_json: AsJson = False) -> None:
    """End a key: it opens nothing any more."""
    from modelyard.cli import access as room

    room.revoke(key, because, as_json=as_json)


@keys.command()
def rotate(key: KeyName, expires: Expires = None, as_json: AsJson = False) -> None:
    """Give a key another secret; the former one opens nothing any more."""
    from modelyard.cli import access as room

    room.rotate(key, expires, as_json=as_json)


@projects.command("create")
def create_project(name: ProjectName, because: Why = "", as_json: AsJson = False) -> None:
    """Make a project."""
    from modelyard.cli import access as room

    room.create_project(name, because, as_json=as_json)


@projects.command("list")
def list_projects(as_json: AsJson = False) -> None:
    """Show the projects that you may see."""
    from modelyard.cli import access as room

    room.list_projects(as_json=as_json)


@projects.command()
def show(name: ProjectName, as_json: AsJson = False) -> None:
    """Show one project."""
    from modelyard.cli import access as room

    room.show_project(name, as_json=as_json)


@projects.command("delete")
def delete_project(name: ProjectName, because: Why = "", as_json: AsJson = False) -> None:
    """Delete an empty project."""
    from modelyard.cli import access as room

    room.delete_project(name, because, as_json=as_json)


@projects.command()
def move(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model.")],
    to: Annotated[str, typer.Argument(metavar="PROJECT", help="Where it is to be.")],
    because: Why = "",
    as_json: AsJson = False,
) -> None:
    """Move a model, with the endpoints that it is deployed to, to another project."""
    from modelyard.cli import access as room

    room.move(model, to, because, as_json=as_json)


def audit(
    about: Annotated[
        str | None,
        typer.Argument(
            metavar="ABOUT", help="A model, a version (fraud/3), an endpoint, a key, a project."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="How many, the newest.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Show who changed what, when and why."""
    from modelyard.cli import access as room

    room.audit(about, limit, as_json=as_json)


def whoami(as_json: AsJson = False) -> None:
    """Show who you are to the platform: by which key, in which project, with which role."""
    from modelyard.cli import access as room

    room.whoami(as_json=as_json)


def add_to(app: typer.Typer) -> None:
    app.add_typer(keys, name="keys")
    app.add_typer(projects, name="projects")
    app.command()(audit)
    app.command()(whoami)
