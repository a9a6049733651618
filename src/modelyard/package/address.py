"""Addresses that people name: which are taken, how they are shown, what the file there is called."""

import re
from email.message import Message
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from modelyard.core.addresses import shown
from modelyard.core.errors import InvalidInput
from modelyard.core.manifest import check_digest
from modelyard.host.network import is_loopback

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz", ".zip")
_MODELS = (
    ".onnx", ".safetensors", ".skops", ".joblib", ".pkl", ".pickle", ".ubj", ".json", ".txt", ".gguf", ".pt", ".pth", ".ckpt",
    ".bin", ".h5", ".hdf5", ".keras", ".tflite", ".npz", ".npy", ".pb", ".model", ".torchscript", ".cbm", ".mar",
    ".prior", ".zst", ".gz",
)  # fmt: skip
_GIT = re.compile(r"(git\+)?(https?|ssh|git|file)://\S+|[\w.-]+@[\w.-]+:\S+")
_WEB = re.compile(r"https?://\S+", re.IGNORECASE)
_DIGEST = "#sha256="
_NAME_BYTES = 200


class FileAddress(NamedTuple):
    """A file over HTTP. ``sha256`` is the checksum that it must have, where one was given."""

    url: str
    sha256: str | None


def is_git(source: str) -> bool:
    """Whether ``source`` has the form of a repository's address (one over the web may be a file's too)."""
    return bool(_GIT.fullmatch(source)) and not is_file(source)


def is_file(source: str) -> bool:
    """Whether ``source`` is the web address of a single file or an archive: by its end, or because it carries a
    checksum."""
    if not _WEB.fullmatch(source):
        return False
    if _DIGEST in source:
        return True
    name = unquote(re.split(r"[?#]", source, maxsplit=1)[0]).rpartition("/")[2].lower()
    return name.endswith((*ARCHIVES, *_MODELS))


def file_address(source: str, sha256: str | None = None) -> FileAddress:
    """``https://…/model.onnx``, also with ``#sha256=…`` behind it, as pip writes it.

    Raises InvalidInput for an address that is not taken, a checksum that is none, and two that differ.
    """
    url, separator, digest = source.partition(_DIGEST)
    digest = digest.lower() if separator else ""
    wanted = sha256.lower() if sha256 else digest or None
    if wanted is not None:
        check_digest(wanted, field="sha256")
    if digest and digest != wanted:
        raise InvalidInput("The address says another checksum than --sha256.", field="sha256")
    return FileAddress(check_web(url.partition("#")[0]), wanted)


def with_digest(source: str, sha256: str | None) -> str:
    """``source`` with its checksum behind it, so that whoever fetches it again looks at it again."""
    if sha256 is None:
        return source
    if not _WEB.fullmatch(source) or source.lower().startswith("git+"):
        raise InvalidInput("--sha256 is for the address of a file: https://…", field="sha256")
    address = file_address(source, sha256)
    return f"{address.url}{_DIGEST}{address.sha256}"


def check_web(url: str, *, field: str = "source", plain: bool = False) -> str:
    """``url``. Raises InvalidInput unless it is https (http at this machine's loopback, or anywhere with ``plain``)
    and can be an address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"{url[:100]!r} is no address: {error}.", field=field) from error
    if parts.scheme not in ("https", "http") or not host or re.search(r"[\s\x00-\x1f\x7f\\]", url):
        raise InvalidInput(f"{shown(url)[:100]!r} is no https address.", field=field)
    if parts.scheme == "http" and not plain and not is_loopback(host):
        raise InvalidInput(
            f"{shown(url)[:200]} is not encrypted: who sits between could change the file. Name it with https://, or "
            "fetch it yourself and name the file here.",
            field=field,
        )
    return url


def file_name(url: str, disposition: str | None = None) -> str:
    """What the file at ``url`` is called: as the header Content-Disposition says (RFC 6266), else by the
    address. Always one plain name: no folder, no leading dot, at most 200 bytes."""
    said = _plain(_disposition(disposition)) if disposition else ""
    if said:
        return said
    try:
        path = urlsplit(url).path
    except ValueError:
        path = ""
    return _plain(unquote(path, errors="replace").rstrip("/")) or "model"


def stem(name: str) -> str:
    """A file's name without what says its kind: ``model`` of ``model.onnx``, ``x-1.0`` of ``x-1.0.tar.gz``."""
    for suffix in sorted(ARCHIVES, key=len, reverse=True):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name.rpartition(".")[0] or name


def _disposition(header: str) -> str:
    message = Message()
    message["Content-Disposition"] = re.sub(r"[\r\n\x00]+", " ", header[:2000])
    try:
        return message.get_filename() or ""
    except (LookupError, ValueError, TypeError, AssertionError):  # what the library makes of a broken one
        return ""


def _plain(name: str) -> str:
    name = re.split(r"[/\\]", name)[-1]
    name = name.encode("utf-8", "replace").decode().replace("\ufffd", "_")
    name = "".join(letter if letter.isprintable() else "_" for letter in name)
    name = re.sub(r"[:*?\"<>|]", "_", name).strip(" ").lstrip(".").strip(" ")
    shortened = name.encode()[-_NAME_BYTES:].decode(errors="ignore")  # its end says what it is
    return shortened.lstrip(". ")
