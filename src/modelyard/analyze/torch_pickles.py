"""What ``torch.save`` wrote into another file: whether loading it makes anything but tensors."""

import io
import re
from typing import Final

from modelyard.analyze.archive import Archive
from modelyard.analyze.pickle_opcodes import Unpickling
from modelyard.analyze.streams import Stream
from modelyard.analyze.window import Window

LARGEST: Final = 128 * 1024 * 1024  # bytes of such a file inside another
_MEMBERS: Final = re.compile(
    r"[^/]+/(data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id)"
)
# What makes tensors, and nothing else.
_TENSORS: Final = re.compile(
    r"torch\._utils\._rebuild_(tensor|tensor_v2|parameter|qtensor)|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\.([A-Z]\w*Storage|storage\.UntypedStorage|Size|device|Tensor|nn\.parameter\.Parameter)"
    r"|torch\.(bfloat16|bool|(float|int|uint|complex)\d+)|torch\.serialization\._get_layout|collections\.OrderedDict"
)


def more_than_tensors(data: bytes, path: str) -> str:
    """What loading ``data`` would make beside tensors, in a few words; empty when there is nothing.

    Raises RejectedContent (of ``path``) when it is no such file, or would call what no model needs.
    """
    archive = Archive(_One(data, path), path, "a file of torch.save", "Save the model again")
    archive.require_one_reading()
    for name in archive.sizes:
        if not _MEMBERS.fullmatch(name):
            return f"the part {name[:100]!r}"
    pickles = [name for name in archive.sizes if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise archive.corrupt("it has no data.pkl")
    pickle = archive.read(pickles[0], LARGEST)
    return more_than_tensors_in_pickle(pickle, path)


def more_than_tensors_in_pickle(pickle: bytes, path: str) -> str:
    """As :func:`more_than_tensors`, of the pickle inside."""
    walked = walk(pickle, path)
    if not walked.complete:
        return "a pickle that is too long to be read"
    return next((name[:200] for name in walked.globals if not _TENSORS.fullmatch(name)), "")


def walk(pickle: bytes, path: str) -> Unpickling:
    """The pickle's objects, described. Raises RejectedContent for one that is not whole."""
    return Unpickling(Stream(Window(_One(pickle, path), path)), path, persistent=True)


class _One:
    """Bytes as a file."""

    def __init__(self, data: bytes, path: str) -> None:
        self._file = io.BytesIO(data)
        self._size = len(data)
        self.paths = (path,)

    def size(self, path: str) -> int:
        return self._size

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        self._file.seek(offset)
        return self._file.read(-1 if length is None else length)
