"""The arguments that recipes pass are those that the programs' own parsers take.

A package is fetched alone, without the gigabytes that it computes with; the declarations of its parser are taken
out of its source and run, and nothing else of it.
"""

import argparse
import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Optional, Union, get_type_hints

import click
import pytest
import typer

from modelyard.package import uv
from modelyard.package.interpreter import base_python
from modelyard.package.locks import hold
from modelyard.package.sources import read_sources
from support.programs import Laid

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs' packages, each without what it depends on."""
    folder = tmp_path_factory.mktemp("packages")
    wanted = "boltz==2.2.1 chai_lab==0.5.2 protenix==2.0.0 colabfold==1.6.3"
    alone = f"pip install --no-deps --no-build --target packages --python {base_python()} {wanted}"
    with hold(folder / "held", lambda: None) as lock:
        uv.run(alone.split(), sources=read_sources(), folder=folder, lock=lock, progress=lambda _: None)
    return folder / "packages"


def function(source: Path, name: str) -> ast.FunctionDef:
    tree = ast.parse(source.read_text())
    return next(each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == name)


def made(node: ast.stmt, given: dict[str, Any]) -> dict[str, Any]:
    """A statement of somebody's source, run with these names alone."""
    names = dict(given)
    exec(compile(ast.Module([node], []), "parser", "exec"), names)
    return names


def of_click(node: ast.FunctionDef, **given: Any) -> Callable[[list[str]], dict[str, Any]]:
    """A function with click's decorators, as one that gives what it would be called with."""
    node.decorator_list = [
        each for each in node.decorator_list if not ast.unparse(each).startswith("cli.command")
    ]
    node.body = [ast.parse("return locals()").body[0]]
    names = {
        "click": click,
        "Optional": Optional,
        "Union": Union,
        "Literal": Literal,
        "list": list,
        **given,
    }
    found = made(node, names)[node.name]
    declared = found if isinstance(found, click.Command) else click.command()(found)

    def parse(arguments: list[str]) -> dict[str, Any]:
        return declared.main(arguments, standalone_mode=False)

    return parse


@pytest.fixture
def laid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda name, device="cpu": Laid(name, tmp_path, monkeypatch, device)


def test_boltz(packages: Path, laid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import multiprocessing

    node = function(packages / "boltz" / "main.py", "predict")
    parse = of_click(node, multiprocessing=multiprocessing, get_cache_path=lambda: "~/.boltz")
    program = laid("boltz-2")
    record = program.driven(sequence="MKV", ligand="C", affinity=True, seed=3, potentials=True)
    _, arguments = program.driver("predict").plan(record, "cuda:0", "boltz2")
    monkeypatch.chdir(tmp_path)
    Path("input.yaml").touch()
    found = parse(arguments[2:])
    assert (found["model"], found["accelerator"], found["cache"], found["seed"]) == (
        "boltz2",
        "gpu",
        "cache",
        3,
    )
    assert (found["use_msa_server"], found["use_potentials"], found["no_kernels"]) == (False, True, True)
    assert (found["sampling_steps"], found["diffusion_samples"], found["preprocessing_threads"]) == (
        200,
        1,
        1,
    )
    with pytest.raises(click.exceptions.NoSuchOption):
        parse([*arguments[2:], "--no-such"])


def test_protenix(packages: Path, laid) -> None:
    node = function(packages / "runner" / "batch_inference.py", "predict")
    parse = of_click(node, CONTEXT_SETTINGS={})
    program = laid("protenix-v1")
    (program.weights / "checkpoint").mkdir()
    (program.weights / "checkpoint" / "protenix_base_default_v1.0.0.pt").touch()
    record = program.driven(**dict(program.described.example or {}), alignment=">q\nM\n")
    _, arguments = program.driver("predict").plan(record, program.weights)
    found = parse(arguments[2:])
    assert (found["seeds"], found["cycle"], found["step"], found["sample"]) == ("101", 10, 200, 5)
    assert (found["use_msa"], found["trimul_kernel"], found["dtype"]) == (True, "torch", "bf16")
    assert (found["use_template"], found["use_rna_msa"]) == (False, False)


def test_chai(packages: Path, laid) -> None:
    node = function(packages / "chai_lab" / "chai1.py", "run_inference")
    node.body, node.returns = [ast.parse("return locals()").body[0]], None
    node.decorator_list = []  # of what it computes with
    fold = made(node, {"Path": Path})["run_inference"]
    assert get_type_hints(fold)["output_dir"] is Path
    app = typer.Typer()
    app.command("fold")(fold)
    app.command("other")(lambda: None)
    program = laid("chai-1", "cuda:0")
    record = program.driven(sequence="MKV", seed=3, language_model=False, restraints="a,b\n")
    _, arguments = program.driver("predict").plan(record, "cuda:0")
    found = typer.main.get_command(app).main(arguments[1:], standalone_mode=False)
    assert (found["output_dir"], found["use_esm_embeddings"], found["use_msa_server"]) == (
        Path("out"),
        False,
        False,
    )
    assert (found["device"], found["seed"], found["num_diffn_samples"]) == ("cuda:0", 3, 5)
    assert found["constraint_path"] == Path("restraints.csv")


def test_colabfold(packages: Path, laid) -> None:
    main = function(packages / "colabfold" / "batch.py", "main")
    last = next(index for index, each in enumerate(main.body) if "parse_args" in ast.unparse(each))
    names = dict.fromkeys(re.findall(r"\b[A-Z][A-Z_]{3,}\b", ast.unparse(main)), "x")
    source = ast.parse("def parser_of():\n    return parser").body[0]
    assert isinstance(source, ast.FunctionDef)
    source.body = [*main.body[:last], *source.body]
    taken = {"argparse": argparse, **vars(argparse), **names, "_str2bool": bool}
    parser: argparse.ArgumentParser = made(ast.fix_missing_locations(source), taken)["parser_of"]()
    program = laid("colabfold")
    for record in ({"sequence": "MKV:GG"}, {"alignment": ">q\nMKV\n"}):
        _, arguments, _ = program.driver("predict").plan(program.driven(**record))
        found = parser.parse_args(arguments[1:])
        assert (found.results, found.data, found.num_models, found.num_recycle) == ("out", "data", 1, 3)
        assert found.model_type in ("alphafold2_ptm", "alphafold2_multimer_v3")
        assert found.skip_output == ["plots"] and not found.templates
