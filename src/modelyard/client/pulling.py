"""``modelyard.pull``: the files of a version in a folder here."""

from pathlib import Path

from modelyard.client.synchronous import Client


def pull(
    name: str,
    version: int | str | None = None,
    *,
    to: str | Path | None = None,
    client: Client | None = None,
) -> Path:
    """The folder with the files of the model ``name``, or of its ``version`` (a number, or an alias); ``name`` may say it
    too (``fraud/3``, ``fraud@production``). ``to`` is the folder, which must not be there (default: ``fraud-3``).

    Raises NotFound, Conflict for a folder that is there, Unavailable while no platform runs.
    """
    if version is not None:
        name = f"{name}/{version}" if isinstance(version, int) or version.isdigit() else f"{name}@{version}"
    platform = client or Client()
    try:
        return platform.pull(name, to).folder
    finally:
        if client is None:
            platform.close()
