"""Files of a repository of the Hugging Face hub, by its own library: resumed, checked, whole or not at all.

Its settings hold: ``HF_TOKEN`` for repositories that ask who you are, ``HF_ENDPOINT`` for another hub,
``HF_HUB_OFFLINE``.
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from modelyard.core.errors import Forbidden, InvalidInput, NotFound, RejectedContent, Unavailable
from modelyard.core.units import format_bytes
from modelyard.package import uv
from modelyard.package.meter import EVERY, Meter, check_room, disk_full, is_full

# Weights of which a repository often has several copies, the one that is taken first.
_WEIGHTS = ("*.safetensors", "onnx/model.onnx", "model.onnx", "*.bin")
_COPIES = (
    "*.bin", "*.bin.index.json", "*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data", "*.pt", "*.pth", "*.ckpt", "*.tflite",
    "*.mlmodel", "*.mlpackage/*", "*.gguf", "*.pb", "*.pkl", "*.safetensors", "*.safetensors.index.json", "coreml/*",
    "openvino/*", "original/*",
)  # fmt: skip


class Remote(NamedTuple):
    """A file of a repository: its path there, and its size in bytes (0 where the hub does not say)."""

    path: str
    size: int


class Commit(NamedTuple):
    """A state of a repository."""

    repository: str
    sha: str
    files: tuple[Remote, ...]


def resolve(repository: str, revision: str | None = None) -> Commit:
    """What ``revision`` (a branch, a tag, a commit; None: the main branch) is now.

    Raises NotFound, Forbidden for a repository that asks who you are, Unavailable when the hub cannot be
    reached.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with _understood(repository, revision):
        from huggingface_hub import HfApi

        told = HfApi(library_name="modelyard").model_info(
            repository, revision=revision, files_metadata=True
        )
        files = tuple(Remote(each.rfilename, each.size or 0) for each in told.siblings or ())
        if told.sha is None:
            raise ValueError("it names no commit")
        return Commit(repository, told.sha, files)


def download(commit: Commit, place: Path, *, path: str | None = None, progress: uv.Progress) -> None:
    """The files that are needed to run a model, in the new folder ``place``; of ``path`` alone (a file or a
    folder in it) when that is given.

    What a download that was broken off has is kept beside it, and gone on with. Raises NotFound,
    Forbidden for a repository that asks who you are, Unavailable when the hub cannot be reached or the
    disk is full.
    """
    wanted = chosen(commit.files, path)
    if not wanted:
        raise NotFound(f"{commit.repository} has no {path or 'file'!r} at {commit.sha[:12]}.")
    size = sum(each.size for each in wanted)
    partial = place.with_name(f".{place.name}.hub")
    check_room(place.parent, size - _bytes_in(partial))
    progress(f"downloading {len(wanted)} files of {commit.repository} ({format_bytes(size)})")
    with _understood(commit.repository, commit.sha), _told(partial, size, progress):
        from huggingface_hub import snapshot_download

        snapshot_download(
            commit.repository,
            revision=commit.sha,  # whatever happens to a branch meanwhile
            local_dir=partial,
            allow_patterns=[_literally(each.path) for each in wanted],
            library_name="modelyard",
        )
    _finish(partial, place, path)


def chosen(files: Sequence[Remote], path: str | None) -> list[Remote]:
    """What is downloaded: ``path`` alone, or all but the further copies of the weights."""
    if path is not None:
        inside = path.rstrip("/") + "/"
        return [each for each in files if each.path == path or each.path.startswith(inside)]
    first = next(
        (form for form in _WEIGHTS if any(fnmatch(each.path, form) for each in files)),
        None,
    )
    if first is None:
        return list(files)

    own = (
        first,
        f"{first}_data",
        "*.safetensors.index.json" if first == "*.safetensors" else "*.bin.index.json",
    )
    others = [form for form in _COPIES if form not in own]

    def kept(each: Remote) -> bool:
        return any(fnmatch(each.path, form) for form in own) or not any(
            fnmatch(each.path, form) for form in others
        )

    return [each for each in files if kept(each)]


def _literally(path: str) -> str:
    """A pattern of fnmatch for this path alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)


def _finish(partial: Path, place: Path, path: str | None) -> None:
    shutil.rmtree(partial / ".cache", ignore_errors=True)  # the library's own
    inside = partial if path is None else partial / PurePosixPath(path)
    if not inside.resolve().is_relative_to(partial.resolve()):
        raise InvalidInput(f"{path!r} is not in the repository.", field="path")
    if inside.is_file():
        single = place.with_name(f".{place.name}.single")
        shutil.rmtree(single, ignore_errors=True)
        single.mkdir()
        inside.rename(single / inside.name)
        inside = single
    inside.rename(place)
    shutil.rmtree(partial, ignore_errors=True)


def _bytes_in(folder: Path) -> int:
    have = 0
    for each in folder.rglob("*"):
        with contextlib.suppress(OSError):  # the library moves them meanwhile
            have += each.stat().st_size
    return have


@contextlib.contextmanager
def _told(folder: Path, size: int, progress: uv.Progress) -> Iterator[None]:
    """Say every now and then how much of ``size`` bytes is in ``folder``."""
    over = threading.Event()
    meter = Meter(size, progress)
    meter.at(_bytes_in(folder))

    def tell() -> None:
        while not over.wait(EVERY):
            meter.at(min(_bytes_in(folder), size))

    thread = threading.Thread(target=tell, name="download", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _understood(repository: str, revision: str | None) -> Iterator[None]:
    """The library's errors as ours."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise Forbidden(
            f"{repository} is given to those who have accepted its terms: open https://huggingface.co/{repository}, "
            "accept them, and set HF_TOKEN to a token of yours."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise NotFound(f"{repository} has no revision {revision!r}.", field="revision") from error
    except errors.RepositoryNotFoundError as error:
        raise NotFound(
            f"The hub shows no model {repository!r}. Check the name; one that is private needs HF_TOKEN.",
            field="hub",
        ) from error
    except errors.HFValidationError as error:
        raise InvalidInput(f"{repository!r} is no name of the hub: owner/name.", field="hub") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, _http_error()) as error:
        raise Unavailable(
            f"{repository} cannot be fetched from the hub: {_shortened(error)} What has come is kept; try again, or "
            "name a mirror in MODELYARD_MIRROR.",
            retry_after=30.0,
        ) from error
    except (errors.FileMetadataError, ValueError) as error:
        raise RejectedContent(
            f"The hub's answer for {repository} makes no sense: {_shortened(error)}"
        ) from error
    except OSError as error:
        if is_full(error):
            raise disk_full() from error
        raise Unavailable(
            f"{repository} cannot be fetched: {_shortened(error)}", retry_after=30.0
        ) from error


def _http_error() -> type[Exception]:
    """What the HTTP client raises that the library uses: httpx of one release or another."""
    from huggingface_hub import errors

    return vars(errors)["HTTPError"]


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300].rstrip(".") + "."
