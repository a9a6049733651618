"""Any program: called once for each record, in a working folder of its own, with what it writes as the answer."""

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from .. import confine
from ..adapter import InvalidInput, ItemError, LoadError, progress
from .program import Ended, adopt, run
from .record_adapter import Record, RecordAdapter

LONGEST = 128 * 1024 - 1  # bytes of one argument, of Linux
LARGEST = 256 * 1024 * 1024  # bytes of one output
_PART = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)(\?|:[\w.-]+)?\}")


class Missing(Exception):
    """A value that a group of arguments needs was not given, or is false."""


class Adapter(RecordAdapter):
    """``options``: ``command`` of model.yaml, ``signature``, ``threads``."""

    tolerance = None  # a program runs once for each record

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        adopt()
        self._command: Dict[str, Any] = dict(options["command"])
        self._always = {"folder": str(files), "threads": str(options["threads"]), "device": device}
        self._inputs = {spec["name"]: spec for spec in self._signature["inputs"]}
        self._outputs = {spec["name"]: spec for spec in self._signature["outputs"]}
        self._path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        pattern = self._command.get("progress")
        self._progress = re.compile(pattern) if pattern else None
        self._find(self._command["run"][0])

    def _find(self, name: str) -> str:
        """The program's path. Raises LoadError when there is none."""
        name = name.replace("{folder}", self._always["folder"])
        if name in ("python", "python3"):
            return sys.executable
        found = shutil.which(name, path=self._path)
        if found is None:
            raise LoadError(
                "there is no program %r: it is neither in the model's environment nor on this machine. Name its "
                "package under requirements, install it, or put it beside model.yaml as {folder}/%s (and executable)"
                % (name, Path(name).name)
            )
        return found

    def check(self, record: Record) -> None:
        for name, value in record.items():
            if isinstance(value, str) and "\0" in value:
                raise InvalidInput(self._field(name), "A null byte cannot be passed to a program.")
        self._arguments(record, None)

    def compute(self, records: Sequence[Record]) -> List[Union[Record, ItemError]]:
        results: List[Union[Record, ItemError]] = []
        for record in records:
            try:
                results.append(self._run(record))
            except ItemError as error:
                results.append(error)
        return results

    def _run(self, record: Record) -> Record:
        with tempfile.TemporaryDirectory(prefix="command-") as place:
            folder, given = Path(place) / "work", Path(place) / "given"
            folder.mkdir()
            given.mkdir()
            for name, text in self._command.get("files", {}).items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._fill(text, record, given), encoding="utf-8")
            stdin = self._command.get("stdin")
            filled = None if stdin is None else self._fill(stdin, record, given).encode()
            arguments = self._arguments(record, given)
            environment = dict(
                os.environ,
                PATH=self._path,
                HOME=place,
                TMPDIR=place,
                OMP_NUM_THREADS=self._always["threads"],
            )
            for name, text in self._command.get("environment", {}).items():
                environment[name] = self._fill(text, record, None)
            try:
                ended = run(arguments, folder, environment, filled, self._line, self._tick)
            except OSError as error:
                raise ItemError(
                    "The program cannot be started: %s%s." % (error, confine.hint(error))
                ) from error
            self._check_end(ended)
            return {
                name: self._take(name, output, folder, ended)
                for name, output in self._command["outputs"].items()
            }

    def _line(self, line: str) -> None:
        """A line that it printed: how far is it?"""
        match = self._progress.search(line) if self._progress is not None else None
        if match is None:
            return
        try:
            numbers = [float(group) for group in match.groups() if group is not None]
        except ValueError:
            numbers = []
        fraction = None
        if len(numbers) == 1:
            fraction = numbers[0] / 100
        elif len(numbers) > 1 and numbers[1] > 0:
            fraction = numbers[0] / numbers[1]
        self._said = (fraction, line.strip()[:200])
        progress(*self._said)

    _said: "tuple[Optional[float], str]" = (None, "")

    def _tick(self) -> None:
        """Raises ItemError when nobody waits any more."""
        progress(*self._said)

    def _check_end(self, ended: Ended) -> None:
        self._said = (None, "")
        if ended.status == 0:
            return
        said = (ended.stderr.strip() or ended.stdout.strip())[-1000:].strip()
        how = (
            "was killed by signal %d" % -ended.status
            if ended.status < 0
            else "ended with %d" % ended.status
        )
        message = "The program %s%s" % (how, ": " + said if said else ", and said nothing.")
        if ended.status in self._command.get("wrong_input", ()):
            raise InvalidInput("inputs", message)
        raise ItemError(message + confine.hint(said))

    # --- what it is given

    def _field(self, name: str) -> str:
        return ("inputs." if name in self._inputs else "parameters.") + name

    def _arguments(self, record: Record, given: Optional[Path]) -> List[str]:
        """The command line; ``given`` is where files are written (None: it is only checked)."""
        first, *others = self._command["run"]
        arguments = [self._find(first)]
        for each in others:
            group = [each] if isinstance(each, str) else each
            try:
                filled = [
                    self._fill(text, record, given, group=not isinstance(each, str)) for text in group
                ]
            except Missing:
                continue
            for text, template in zip(filled, group):
                name = _lone(template)
                if text.startswith("-") and isinstance(record.get(name), str):
                    # Else whoever calls could give the program options of his own.
                    raise InvalidInput(
                        self._field(name), "A text that begins with '-' cannot be passed here."
                    )
                if len(text) > LONGEST // 4 and len(text.encode()) > LONGEST:
                    named = [match[1] for match in _PART.finditer(template) if match[1] in record]
                    raise InvalidInput(
                        self._field(named[0]) if named else "inputs",
                        "It makes an argument of %d bytes; a program can be given %d at most."
                        % (len(text.encode()), LONGEST),
                    )
            arguments += filled
        return arguments

    def _fill(self, text: str, record: Record, given: Optional[Path], *, group: bool = False) -> str:
        def value(match: "re.Match[str]") -> str:
            if match[0] in ("{{", "}}"):
                return match[0][0]
            name, kind = match[1], match[2] or ""
            found = record.get(name)
            if (
                name not in self._always
                and name != "record"
                and (found is None or (group and found is False))
            ):
                raise Missing
            if kind == "?":
                return ""
            if name in self._always:
                return self._always[name]
            if name == "record":
                return "" if given is None else _write(given / "record.json", self._as_json(record, given))
            if isinstance(found, bytes) or kind:
                data = found if isinstance(found, bytes) else _text(found).encode()
                return "" if given is None else _write(given / (kind[1:] or name), data)
            return _text(found)

        return _PART.sub(value, text)

    def _as_json(self, record: Record, given: Path) -> bytes:
        """The record; of files, their paths."""
        plain = {
            name: _write(given / name, value) if isinstance(value, bytes) else value
            for name, value in record.items()
        }
        return json.dumps(plain).encode()

    # --- what it left

    def _take(self, name: str, output: Dict[str, Any], folder: Path, ended: Ended) -> Any:
        if output.get("match"):
            return self._match(name, output["match"], ended)
        place = str(output.get("file") or output.get("text") or output.get("json"))
        if place in ("stdout", "stderr") and not output.get("file"):
            if ended.cut:
                raise ItemError("The program printed more than %d bytes." % len(ended.stdout))
            data = (ended.stdout if place == "stdout" else ended.stderr).encode()
        else:
            data = _read(folder, place, name, ended)
        if output.get("file"):
            return data
        try:
            text = data.decode("utf-8")
            return json.loads(text) if output.get("json") else text
        except (ValueError, RecursionError) as error:
            raise ItemError("The output %r (%s) cannot be read: %s." % (name, place, error)) from error

    def _match(self, name: str, pattern: str, ended: Ended) -> Any:
        found = re.findall(pattern, ended.stdout) or re.findall(pattern, ended.stderr)
        if not found:
            raise ItemError("The program printed nothing that is %r (%s)." % (name, pattern))
        datatype = self._outputs[name]["datatype"]
        try:
            return (
                found[-1]
                if datatype == "BYTES"
                else float(found[-1])
                if "FP" in datatype
                else int(found[-1])
            )
        except ValueError:
            raise ItemError("%r is no number for the output %r." % (found[-1][:100], name)) from None


def _lone(template: str) -> str:
    """The name in an argument that begins with a placeholder; "" for any other."""
    match = _PART.match(template)
    return match[1] or "" if match is not None and not match[2] else ""


def _text(value: Any) -> str:
    """A value as an argument."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def _read(folder: Path, pattern: str, name: str, ended: Ended) -> bytes:
    """The one file that ``pattern`` names, which is nowhere but inside of ``folder``."""
    root = folder.resolve()
    found = sorted(folder.glob(pattern)) if "*" in pattern else [folder / pattern]
    found = [path for path in found if path.is_file() and root in path.resolve().parents]
    if len(found) != 1:
        there = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        # Many programs say what is wrong, and end as if nothing were.
        said = (ended.stderr.strip() or ended.stdout.strip())[-500:].strip()
        raise ItemError(
            "The program ended well, but for the output %r there %s; it wrote: %s.%s"
            % (
                name,
                "is no %s" % pattern if not found else "are %d files %s" % (len(found), pattern),
                ", ".join(there[:20]) or "nothing",
                " It said: " + said if said else "",
            )
        )
    if found[0].stat().st_size > LARGEST:
        raise ItemError(
            "The output %r has %d bytes; at most %d are answered."
            % (name, found[0].stat().st_size, LARGEST)
        )
    return found[0].read_bytes()
