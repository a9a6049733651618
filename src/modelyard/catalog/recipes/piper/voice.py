"""Piper with one of the voices beside this file: a voice is chosen by name, never by a path.

python voice.py FOLDER [--voice=NAME] [--cuda=DEVICE] -- arguments of piper
"""

import os
import sys
from pathlib import Path


def plan(folder, options):
    """The arguments that choose the voice and the device. Raises ValueError for a voice that is not there."""
    told = dict(each[2:].split("=", 1) for each in options)
    voices = {path.stem: path for path in sorted(Path(folder).rglob("*.onnx"))}
    names = ", ".join(list(voices)[:20]) or "none at all"
    name = told.get("voice") or (next(iter(voices)) if len(voices) == 1 else "")
    if name not in voices:
        raise ValueError(f"{name!r} is no voice that is here; there are {names}.")
    cuda = ["--cuda"] if told.get("cuda", "cpu") != "cpu" else []
    return ["-m", str(voices[name]), *cuda]


if __name__ == "__main__":
    split = sys.argv.index("--")
    try:
        chosen = plan(sys.argv[1], sys.argv[2:split])
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    os.execvp("piper", ["piper", *chosen, *sys.argv[split + 1 :]])
