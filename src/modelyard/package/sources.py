"""Where packages come from: what pip and uv are configured with on this machine, told to uv.

uv does not read pip's configuration, yet a machine's indexes, wheel folders and certificates usually
stand there. The rules are pip's (https://pip.pypa.io/en/stable/topics/configuration/): the files for
everybody, the user, the running Python and ``PIP_CONFIG_FILE``, then ``PIP_*``, each stronger than the
one before. A variable of uv's own (``UV_*``) is stronger than all of these.
"""

import configparser
import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

# pip's option -> (uv's variables, the last of which is set; what joins several values)
_OPTIONS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "index-url": (("UV_INDEX_URL", "UV_DEFAULT_INDEX"), None),
    "extra-index-url": (("UV_EXTRA_INDEX_URL", "UV_INDEX"), " "),
    "find-links": (("UV_FIND_LINKS",), ","),
    "no-index": (("UV_NO_INDEX",), None),
    "trusted-host": (("UV_INSECURE_HOST",), " "),
    "cert": (("SSL_CERT_FILE",), None),
    "proxy": (("ALL_PROXY",), None),
}
# What would make uv act on another environment than the one that we name.
_FOREIGN = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "UV_PYTHON", "UV_SYSTEM_PYTHON")
# What decides which packages a resolution can find; proxies and certificates do not.
_DECIDING = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS",
             "UV_NO_INDEX", "UV_INDEX_STRATEGY", "UV_TORCH_BACKEND", "UV_PRERELEASE", "UV_RESOLUTION",
             "UV_EXCLUDE_NEWER", "UV_CONSTRAINT", "UV_OVERRIDE")  # fmt: skip


class Sources(msgspec.Struct, frozen=True):
    """``variables``: the environment that uv is run with."""

    variables: dict[str, str]

    @property
    def digest(self) -> str:
        """Changes when the indexes or folders to look in do."""
        deciding = [(name, self.variables.get(name)) for name in _DECIDING]
        return hashlib.sha256(msgspec.json.encode(deciding)).hexdigest()

    @property
    def folders(self) -> list[Path]:
        """The local folders of wheels among the find-links."""
        links = self.variables.get("UV_FIND_LINKS", "").split(",")
        return [path for link in links if link and (path := _local(link)) is not None and path.is_dir()]


def read_sources(environ: Mapping[str, str] | None = None) -> Sources:
    """The sources as the machine is configured now (``environ``: the process's, by default)."""
    given = dict(os.environ if environ is None else environ)
    variables = {name: value for name, value in given.items() if name not in _FOREIGN}
    configured = _pip_options(given)
    for option, (names, join) in _OPTIONS.items():
        value = configured.get(option, "").strip()
        if not value or any(given.get(name) for name in names):
            continue
        if option == "no-index" and value.lower() not in ("1", "true", "yes", "on"):
            continue
        parts = value.split()
        variables[names[-1]] = parts[0] if join is None else join.join(parts)
        if option == "extra-index-url":
            # pip takes the best version of all indexes; uv, by default, the first index with the name.
            variables.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    variables["UV_PYTHON_DOWNLOADS"] = "never"
    return Sources(variables)


def _pip_options(environ: Mapping[str, str]) -> dict[str, str]:
    """pip's options of ``pip install``, the strongest of each."""
    options: dict[str, str] = {}
    for path in _pip_files(environ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            # pip itself refuses to run with such a file; what it may mean cannot be guessed.
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                options.update(parser.items(section))
    for option in _OPTIONS:
        value = environ.get("PIP_" + option.upper().replace("-", "_"))
        if value is not None:
            options[option] = value
    return options


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path(environ.get("HOME") or Path.home())
    shared = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    return [
        *[Path(folder) / "pip" / "pip.conf" for folder in reversed(shared.split(":")) if folder],
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf",
        Path(sys.prefix) / "pip.conf",
        *([Path(named)] if named else []),
    ]


def _local(link: str) -> Path | None:
    parts = urlsplit(link)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(link)
