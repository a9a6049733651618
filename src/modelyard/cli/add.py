"""What ``modelyard add`` does: look, ask, write, try, deploy."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import typer

from modelyard.cli.output import print_facts, print_json, say
from modelyard.cli.predict import pair_of, show
from modelyard.cli.ticker import Ticker
from modelyard.client.location import find_home
from modelyard.client.options import settings_of
from modelyard.core.errors import InvalidInput, ModelyardError
from modelyard.core.names import check_name
from modelyard.core.provenance import Source
from modelyard.core.settings import load_settings
from modelyard.core.units import format_bytes, format_seconds
from modelyard.onboard import (
    Added,
    Answers,
    Look,
    Question,
    Report,
    Trial,
    attempt,
    bring,
    look,
    remember,
    taken_as_it_is,
    write,
    written,
)
from modelyard.onboard.material import Material
from modelyard.package.environment import Environments
from modelyard.pipeline.sources import source_of


class Steps(NamedTuple):
    """What is done after the report."""

    write: bool
    test: bool
    deploy: bool


def run(
    source: str,
    answers: Answers,
    steps: Steps,
    *,
    name: str | None,
    to: str | None,
    overwrite: bool,
    network: bool,
    trust_pickle: bool,
    because: str,
    timeout: float,
    as_json: bool,
) -> None:
    """Raises what hinders a step; exits 1 with the questions when one is open that nobody here can answer."""
    home = find_home()
    root = home.root.absolute() / "added"
    environments = Environments(home.environments, downloads=load_settings().python_downloads)
    with Ticker(quiet=as_json) as ticker:
        material = bring(
            source, root, python=interpreter_of(answers, environments, ticker.show), progress=ticker.show
        )
        ticker.show("reading it")
        found = look(source, material, answers)
    called = check_name(name or found.report.name)
    told: dict[str, Any] = {"report": msgspec.to_builtins(found.report)}
    if not as_json:
        _print(found)
    found, answers = _ask(found, answers, as_json=as_json)
    if steps.write and not found.report.ready:
        told["report"] = msgspec.to_builtins(found.report)
        if as_json:
            print_json(told)
        raise typer.Exit(1)
    if not steps.write:
        if as_json:
            print_json(told)
        return
    if answers.call is not None and found.usage is not None:
        answers = msgspec.structs.replace(answers, call=found.usage.target)  # numbers change with versions
    folder, digests = _written(found, called, to, root, overwrite=overwrite, as_json=as_json)
    told["folder"] = str(folder)
    added = Added(
        name=called,
        source=source,
        kind=material.kind,
        answers=answers,
        folder=str(folder.resolve()),
        written=digests,
    )
    remember(added, root)
    if steps.test:
        with Ticker(quiet=as_json) as ticker:
            trial = attempt(
                folder, environments, timeout=timeout, network=network, trusted=trust_pickle,
                python=answers.python, progress=ticker.show,
            )  # fmt: skip
        told["trial"] = msgspec.to_builtins(trial)
        remember(msgspec.structs.replace(added, answer=trial.answer), root)
        if not as_json:
            print_trial(trial)
    if steps.deploy:
        from modelyard.cli.deploy import run as deploy

        deploy(
            folder, called, trust_pickle=trust_pickle, because=because,
            settings={**settings_of({"python": answers.python}), **leave(network)},
            reset=False, detach=False, as_json=as_json, told=told, source=came_from(called, source, material),
        )  # fmt: skip
        return
    if as_json:
        print_json(told)
    elif not steps.test:
        print(f"\nRun it:    modelyard add {source} --test{'' if to is None else f' --to {to}'}")
        print(f"Deploy it: modelyard deploy {folder} --name {called}")
    else:
        print(f"\nDeploy it: modelyard deploy {folder} --name {called}{' --network' if network else ''}")


def came_from(name: str, source: str, material: Material) -> Source:
    """What was added, and behind it the project; the folder that was written of it may have been changed by hand."""
    return Source(kind="added", name=name, of=source_of(material.kind, source, material.revision))


def leave(network: bool) -> dict[str, Any]:
    """The options of a deployment for a model that was tried with the network: it needs it to serve, too."""
    return {"leave": {"network": True}} if network else {}


def interpreter_of(
    answers: Answers, environments: Environments, progress: Callable[[str], None]
) -> Path | None:
    """The interpreter that was asked for; None: the one that runs here."""
    return None if answers.python is None else environments.interpreter([answers.python], progress).path


def _written(
    found: Look, called: str, to: str | None, root: Path, *, overwrite: bool, as_json: bool
) -> tuple[Path, dict[str, str]]:
    """The folder of the model, and the digests of what we wrote there: the project's own when it is served as it
    is; else one that is written, or, when it was before, taken as the user may have changed it."""
    if found.known is not None:
        return found.material.folder, {}
    folder = Path(to or f"{called}-model").expanduser()
    if (folder / "model.yaml").is_file() and not overwrite:
        digests = taken_as_it_is(folder, found.report.source, root)
        if not as_json:
            say(f"\n{folder} is there and is taken as it is; --overwrite writes it anew.")
        return folder, digests
    paths = write(found, folder, overwrite=overwrite)
    if not as_json:
        print(f"\nWritten to {folder}: {', '.join(path for path in paths if '/' not in path)}.")
    return folder, written(folder)


def _print(found: Look) -> None:
    report = found.report
    print(f"{report.name}, from {report.source}\n")
    print_facts(
        [(each.about, f"{each.value}   [{each.confidence}: {each.reason}]") for each in report.findings]
    )
    for warning in report.warnings:
        print(f"warning: {warning}")
    if found.requirements:
        print()
        print_facts(
            [
                ("needs" if not index else "", f"{need.line}   [{need.reason}]")
                for index, need in enumerate(found.requirements)
            ]
        )
    served = found.usage.target if found.usage is not None else None
    if served is not None and any(usage.target != served for usage in found.usages):
        print("\nother calls (--call NUMBER):")
        for number, usage in enumerate(found.usages, 1):
            if usage.target != served:
                print(f"  {number}. {usage.shown[:100]}   [{usage.place}]")


def _ask(found: Look, answers: Answers, *, as_json: bool) -> tuple[Look, Answers]:
    """Have the open questions answered where somebody sits at a terminal; print them elsewhere."""
    while found.report.questions:
        question = found.report.questions[0]
        if as_json or not sys.stdin.isatty() or not sys.stdout.isatty():
            if not as_json:
                print_questions(found.report)
            return found, answers
        answers = _asked(question, answers)
        with contextlib.suppress(InvalidInput):
            found = look(found.report.source, found.material, answers)
    return found, answers


def _asked(question: Question, answers: Answers) -> Answers:
    print(f"\n{question.text}")
    for number, choice in enumerate(question.choices, 1):
        print(f"  {number}. {choice}")
    if question.about == "call":
        said = typer.prompt("number", default="1" if question.choices else None)
        return msgspec.structs.replace(answers, call=str(said))
    name = question.about.removeprefix("example.")
    said = typer.prompt(f"{name} (a value, or @FILE)")
    try:
        pair = pair_of(f"{name}={said}", "--example")
    except (typer.BadParameter, ModelyardError) as error:
        say(f"{error}")
        return answers
    return msgspec.structs.replace(answers, examples={**answers.examples, name: pair[1]})


def print_questions(report: Report) -> None:
    """What is open, and with which option it is answered."""
    say(f"\n{len(report.questions)} question(s) before its files can be written:")
    for question in report.questions:
        say(f"  {question.text}")
        for number, choice in enumerate(question.choices, 1):
            say(f"    {number}. {choice}")
        say(f"    answer with {question.answer}")


def print_trial(trial: Trial) -> None:
    """How it went."""
    print()
    print_facts(
        [
            (
                "environment",
                f"{trial.environment[:12]}, ready in {format_seconds(trial.environment_seconds)}",
            ),
            ("loaded", f"in {format_seconds(trial.load_seconds)}, {format_bytes(trial.memory)}"),
            ("answered", f"its example in {format_seconds(trial.call_seconds)}"),
            *[(output, show(value)) for output, value in trial.answer.items()],
        ]
    )
    if not trial.repeatable:
        print("note: asked twice, it answered differently; a cache or a comparison would not work with it.")
    if trial.network:
        print(
            "note: it could have used the network; this machine does not let us take it away, or --network was given."
        )
