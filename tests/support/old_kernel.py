"""An interpreter for executors that finds another kernel than there is, at the calls by which it is confined."""

import sys
from pathlib import Path


def interpreter(tmp_path: Path, code: str) -> str:
    """The path of one that runs ``code`` before the executor's first line."""
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "start.py").write_text(
        code
        + "import runpy, sys\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    script = folder / "python"
    script.write_text(
        '#!/bin/sh\nn=$#\nfor each in "$@"; do shift; case $each in */modelyard_executor) '
        f'set -- "$@" {folder}/start.py "$each";; *) set -- "$@" "$each";; esac; done\n'
        f'exec {sys.executable} "$@"\n'
    )
    script.chmod(0o755)
    return str(script)
