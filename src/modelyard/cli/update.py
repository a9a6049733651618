"""What ``modelyard update`` does: a model that was added, at another version, tried and then rolled over."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import typer

from modelyard.cli.add import came_from, interpreter_of, leave, print_questions, print_trial
from modelyard.cli.output import print_json, say
from modelyard.cli.ticker import Ticker
from modelyard.client.location import find_home
from modelyard.client.options import settings_of
from modelyard.core.settings import load_settings
from modelyard.onboard import attempt, bring, look, put_in_place, recall, remember, write, written
from modelyard.package.environment import Environments


def run(
    name: str,
    version: str | None,
    *,
    overwrite: bool,
    network: bool,
    trust_pickle: bool,
    because: str,
    timeout: float,
    as_json: bool,
) -> None:
    """Raises NotFound for what was not added here, Conflict when its files were changed by hand, and what
    hinders a step. Until the new version serves, nothing is changed."""
    from modelyard.cli.deploy import run as deploy

    home = find_home()
    root = home.root.absolute() / "added"
    added = recall(name, root)
    source = added.at(version)
    if not overwrite:
        added.check_unchanged()
    environments = Environments(home.environments, downloads=load_settings().python_downloads)
    with Ticker(quiet=as_json) as ticker:
        python = interpreter_of(added.answers, environments, ticker.show)
        found = look(source, bring(source, root, python=python, progress=ticker.show), added.answers)
    if not found.report.ready:
        if as_json:
            print_json({"report": msgspec.to_builtins(found.report)})
        else:
            print_questions(found.report)
        raise typer.Exit(1)
    folder = Path(added.folder)
    partial = folder.with_name(f".{folder.name}.update")
    try:
        if found.known is None:
            shutil.rmtree(partial, ignore_errors=True)
            write(found, partial)
            candidate = partial
        else:
            candidate = folder = found.material.folder
        with Ticker(quiet=as_json) as ticker:
            trial = attempt(
                candidate, environments, timeout=timeout, network=network, trusted=trust_pickle,
                python=added.answers.python, progress=ticker.show,
            )  # fmt: skip
        same = trial.answer == added.answer
        told: dict[str, Any] = {
            "source": source,
            "folder": str(folder),
            "trial": msgspec.to_builtins(trial),
        }
        told["same_answer"] = None if added.answer is None else same
        if not as_json:
            print(f"{name}: {found.material.told}")
            print_trial(trial)
            if added.answer is not None and not same:
                say("note: its example is answered differently than before.")
        deploy(
            candidate,
            name,
            trust_pickle=trust_pickle,
            because=because,
            settings={**settings_of({"python": added.answers.python}), **leave(network)},
            reset=False,
            detach=False,
            as_json=as_json,
            told=told,
            source=came_from(name, source, found.material),
        )
        if candidate is partial:  # what fails to serve leaves the files of what does
            put_in_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    remember(
        msgspec.structs.replace(
            added,
            source=source,
            kind=found.material.kind,
            folder=str(folder),
            written={} if found.known is not None else written(folder),
            answer=trial.answer,
        ),
        root,
    )
