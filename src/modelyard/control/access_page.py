"""``docs/access.md``, written from the table: what each role may, and what each address asks for."""

from modelyard.control.access import ALSO, NODE, TABLE, Row

_HEAD = """# Who may do what

Written from `src/modelyard/control/access.py` by `make schema`; a test says when it is not current. [The guide](guides/access.md) says how keys and projects are made, [decision 32](architecture/decisions/032-access.md) why it is so.

Each role may what those before it may, in its own project:

| role | may |
|---|---|
| caller | predict, see the endpoints that it predicts on, and who it is |
| viewer | see everything of the project: models, versions, endpoints, jobs, logs |
| operator | upload, make versions, move aliases, write cards, scan, deploy, scale, set remotes, cancel jobs |
| admin | delete, restore, trust what runs code, see the audit, make and end keys |
| admin of the installation | everything, in all projects: projects, the store, environments; the home's own key is one |

On a node a *caller* and a *viewer* may predict and look, an *operator* and an *admin* may load and unload models, too.

What is of another project is answered as what does not exist, in the same words. Where a name can be new, one that is in use elsewhere is told as taken, and nothing more. *Listed*: the answer has what is of the project alone.
"""
_ON_NODES = (
    "Every protocol, list and default answers as if there were the endpoints of the key alone; so do `/metrics`, which "
    "tell the home's own key also of the process, of memory and of remotes (`open_metrics`: whoever reaches the node, "
    "all of it). `/health`, `/ready`, `/ping` and their kin ask for no key and name nothing."
)
_OF = {"": "", "listed": "listed", "body": "what the body names"}


def page() -> str:
    """The whole page, Markdown."""
    lines = [_HEAD]
    for title, rows in (
        ("The API, under `/api/v1`", [row for row in TABLE if row.path.startswith("/api/v1/")]),
        (
            "Pages, and what is beside the API",
            [row for row in TABLE if not row.path.startswith("/api/v1/")],
        ),
    ):
        lines += [f"## {title}", "", "| address | asks for | of |", "|---|---|---|"]
        lines += [_line(row) for row in rows]
        lines.append("")
    lines += ["## On a node", "", _ON_NODES, "", "| address | asks for | of |", "|---|---|---|"]
    lines += [_line(row) for row in NODE]
    lines.append("")
    lines += ["## What a body may ask for beyond that", "", "| what | asks for |", "|---|---|"]
    lines += [f"| {what} | {who} |" for what, who in ALSO]
    return "\n".join([*lines, ""])


def _line(row: Row) -> str:
    needed = {"public": "no key", "installation": "admin of the installation"}.get(row.needed, row.needed)
    of = _OF.get(
        row.of, f"the {row.of.removeprefix('new ')}{', also a new one' if 'new ' in row.of else ''}"
    )
    return f"| `{row.method} {row.path.removeprefix('/api/v1')}` | {needed} | {of} |"
