"""Chat templates: programs of Jinja. What one does with messages is data; what reaches for attributes that Python
keeps for itself is a way out of the template."""

from typing import Final

from modelyard.registry.scan.view import Report, View

NAME: Final = "a template"
NAMES: Final = (".jinja", ".jinja2", ".j2")
_LONGEST: Final = 4 * 1024 * 1024
_NAMES: Final = frozenset({"self", "lipsum", "cycler", "joiner", "request", "config", "get_flashed_messages", "url_for", "context"})  # fmt: skip
_ATTRIBUTES: Final = frozenset({"mro", "func_globals", "gi_frame", "gi_code", "cr_frame", "f_globals", "tb_frame", "format_map"})  # fmt: skip


def looks(view: View) -> bool:
    return view.name.lower().endswith(NAMES)


def scan(view: View, report: Report) -> None:
    check(view.source.read(0, _LONGEST).decode("utf-8", "replace"), report, 0, view.name)


def check(text: str, report: Report, offset: int | None, key: str) -> None:
    """Name what reaches out of the template ``text``, which ``key`` is the name of."""
    from jinja2 import Environment, TemplateError, nodes

    try:
        tree = Environment(extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do"]).parse(text)
    except (TemplateError, RecursionError, ValueError) as error:
        # The extensions of transformers (generation) are not Jinja's; what looks like an escape counts still.
        if "__" in text or "|attr" in text.replace(" ", ""):
            _told(
                report,
                offset,
                key,
                f"it cannot be read ({str(error)[:80]}), and names what Python keeps for itself",
            )
        return
    for node in tree.find_all(nodes.Node):
        reached = ""
        if isinstance(node, nodes.Getattr):
            reached = node.attr if _is_private(node.attr) else ""
        elif isinstance(node, nodes.Getitem):
            argument = node.arg
            if isinstance(argument, nodes.Const):
                reached = str(argument.value) if _is_private(str(argument.value)) else ""
            elif isinstance(argument, nodes.Concat | nodes.Add | nodes.Mod):
                texts = [
                    each.value for each in argument.find_all(nodes.Const) if isinstance(each.value, str)
                ]
                reached = "a name that is put together" if any("_" in each for each in texts) else ""
        elif isinstance(node, nodes.Filter):
            reached = f"the filter {node.name}" if node.name in ("attr", "xmlattr") else ""
            for each in node.kwargs:
                value = each.value.value if isinstance(each.value, nodes.Const) else ""
                if each.key == "attribute" and any(map(_is_private, str(value).split("."))):
                    reached = str(value)
        elif isinstance(node, nodes.Name):
            reached = (
                node.name
                if node.ctx == "load" and (node.name in _NAMES or node.name.startswith("__"))
                else ""
            )
        elif isinstance(node, nodes.Const):
            reached = node.value if isinstance(node.value, str) and _is_dunder(node.value) else ""
        elif isinstance(node, nodes.Include | nodes.Import | nodes.FromImport | nodes.Extends):
            reached = "another template"
        if reached:
            _told(report, offset, key, f"it reaches for {reached[:100]}", reached)


def _told(report: Report, offset: int | None, key: str, why: str, reached: str | None = None) -> None:
    report.add("malicious", f"the template {key[:100]} is a way out of Jinja: {why}", offset, reached)


def _is_private(name: str) -> bool:
    return name.startswith("__") or name in _ATTRIBUTES or (name.startswith("_") and name.endswith("__"))


def _is_dunder(text: str) -> bool:
    return len(text) > 4 and text.startswith("__") and text.endswith("__") and text.strip("_").isalpha()
