"""JSON that asks for code: Keras's config.json, skops's schema.json, auto_map of the hub, chat templates."""

import json
import re
from collections.abc import Iterator
from typing import Final

from modelyard.registry.scan import templates
from modelyard.registry.scan.reach import reach, root_is_system
from modelyard.registry.scan.view import Report, View

NAME: Final = "a JSON file"
_LONGEST: Final = 32 * 1024 * 1024
NAMES: Final = frozenset(
    {
        "config.json",
        "schema.json",
        "tokenizer_config.json",
        "processor_config.json",
        "preprocessor_config.json",
    }
    | {
        "chat_template.json",
        "model.json",
        "metadata.json",
        "modules.json",
        "adapter_config.json",
        "generation_config.json",
    }
)
_ASKS: Final = (b"auto_map", b"class_name", b"__loader__", b"chat_template", b"\\u00")
_KERAS: Final = re.compile(
    r"(keras|tensorflow\.keras|tf_keras|keras_hub|keras_cv|keras_nlp|tensorflow\.python\.keras)(\..*)?"
)
_SKOPS: Final = re.compile(
    r"(sklearn|numpy|scipy)(\..*)?|builtins|collections|datetime|_operator|operator|functools|copyreg|pandas(\..*)?|skops(\..*)?"
)
_SKOPS_CALLS: Final = frozenset(
    {"FunctionNode", "MethodNode", "OperatorFuncNode", "ReduceNode", "PartialNode"}
)


def looks(view: View) -> bool:
    if view.head.lstrip()[:1] not in (b"{", b"["):
        return False
    return (
        view.name.lower() in NAMES
        or view.name.lower().endswith(".json")
        or any(each in view.head for each in _ASKS)
    )


def scan(view: View, report: Report) -> None:
    named = view.name.lower() in NAMES
    if view.source.size > _LONGEST:
        if named:
            raise ValueError(f"it has {view.source.size} bytes; such a file has at most {_LONGEST}")
        return  # numbers of a model, or a vocabulary
    text = view.source.read(0, _LONGEST)
    if not named and not any(each in text for each in _ASKS):
        return
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        if named:
            raise
        return
    for node in _objects(told):
        _auto_map(node, report)
        _keras(node, report)
        _skops(node, report)
        _templates(node, report)


def _objects(told: object) -> Iterator[dict[str, object]]:
    waiting = [told]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _auto_map(node: dict[str, object], report: Report) -> None:
    if "auto_map" not in node:
        return
    names = [str(each) for value in _texts(node["auto_map"]) for each in [value]]
    told = ", ".join(names[:5])[:200]
    report.add("executes", f"code of the repository for trust_remote_code (auto_map): {told}", None, told)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _keras(node: dict[str, object], report: Report) -> None:
    name, module = node.get("class_name"), node.get("module")
    if not isinstance(name, str):
        return
    if name in ("Lambda", "__lambda__"):
        report.add("executes", f"a Keras layer that holds Python code: {name}", None, name)
    if isinstance(module, str) and not _KERAS.fullmatch(module) and module != "builtins":
        path = f"{module}.{name}"
        level = "malicious" if reach(module, name) == "system" else "executes"
        report.add(level, f"a Keras object that is made by {path}", None, path)
    if module == "builtins" and reach("builtins", name) == "system":
        report.add("malicious", f"a Keras object that is made by builtins.{name}", None, f"builtins.{name}")
    held = node.get("config")
    # Keras imports a function by its name from any module (CVE-2025-1550).
    if (
        name == "function"
        and isinstance(held, str)
        and isinstance(module, str)
        and not _KERAS.fullmatch(module)
    ):
        bad = root_is_system(module.split(".")[0]) or reach(module, held) == "system"
        report.add(
            "malicious" if bad else "executes",
            f"a Keras object that calls {module}.{held}",
            None,
            f"{module}.{held}",
        )


def _skops(node: dict[str, object], report: Report) -> None:
    loader = node.get("__loader__")
    if not isinstance(loader, str):
        return
    found = [(node.get("__module__"), node.get("__class__"))]
    content = node.get("content")
    if isinstance(content, dict):
        found.append((content.get("module_path"), content.get("function")))
        found.append((content.get("module_path"), content.get("class")))
    for module, name in found:
        if not isinstance(module, str) or not isinstance(name, str):
            continue
        path = f"{module}.{name}"
        kind = reach(module, name)
        if kind == "system":
            report.add("malicious", f"a skops file that reaches for the system: {path}", None, path)
        elif not _SKOPS.fullmatch(module):
            report.add(
                "executes",
                f"a skops file with the type {path}, which skops does not trust by itself",
                None,
                path,
            )


def _templates(node: dict[str, object], report: Report) -> None:
    held = node.get("chat_template")
    if isinstance(held, str):
        templates.check(held, report, None, "chat_template")
    elif isinstance(held, list):
        for each in held:
            if isinstance(each, dict) and isinstance(text := each.get("template"), str):
                templates.check(text, report, None, f"chat_template {str(each.get('name'))[:50]}")
