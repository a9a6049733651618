"""Which of several files of one kind is the model: one clear rule."""

from collections.abc import Sequence

from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files


def choose(files: Files, suffixes: Sequence[str], preferred: str) -> str:
    """The path of the model file.

    The only one with one of ``suffixes``; of several, the one in the top folder with the name of
    ``preferred`` (``model.onnx``; for other suffixes ``model.*``). Else RejectedContent lists them.
    """
    found = [path for path in files.paths if path.lower().endswith(tuple(suffixes))]
    if len(found) == 1:
        return found[0]
    if preferred in found:
        return preferred
    stem = preferred.rsplit(".", 1)[0]
    named = [path for path in found if path.rsplit(".", 1)[0] == stem]
    if len(named) == 1:
        return named[0]
    listed = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
    raise RejectedContent(
        f"There are {len(found)} files that could be the model: {listed}. Deploy one of them alone, or name "
        f"the one to serve {preferred} in the top folder.",
        field=found[0] if found else None,
    )
