"""A version's files as a folder on the local disk, for its executors to read."""

import errno
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.manifest import Manifest
from modelyard.store.assembly import Damaged
from modelyard.store.durable import disk_error, make_folder, sync_folder

# Of a hard link that the file systems cannot make: other device, too many links, not supported.
_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.ENOSYS)


def lay_out(manifest: Manifest, folder: Path, blob: Callable[[str], Path]) -> Path:
    """Build ``folder`` beside its place and rename it there; nothing happens when it is there.

    ``blob`` gives the path of a digest's bytes, which somebody may remove before it is linked: then it is asked
    again. Files are hard links where that is possible.
    """
    if folder.is_dir():
        return folder
    # The dot and the prefix tell whoever tidies up that this is no version.
    building = folder.with_name(f".laying-{folder.name}-{secrets.token_hex(4)}")
    try:
        make_folder(folder.parent)
        building.mkdir()
        _fill(manifest, building, blob)
        try:
            building.rename(folder)
        except OSError as error:
            # Somebody else has laid out the same files meanwhile.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) or not folder.is_dir():
                raise
        sync_folder(folder.parent)
    except OSError as error:
        told = disk_error(error, folder.parent)
        if told is None:
            raise
        raise told from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _fill(manifest: Manifest, building: Path, blob: Callable[[str], Path]) -> None:
    folders = {building}
    for file in manifest.files:
        place = building / file.path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _place(file.sha256, place, blob)
        except (FileExistsError, NotADirectoryError) as error:
            raise InvalidInput(
                f"{file.path!r} is a file, or lies below one, and a folder at the same time; rename one.",
                field=file.path,
            ) from error
        except (FileNotFoundError, NotFound) as error:
            raise NotFound(
                f"The bytes of {file.path!r} ({file.sha256}) are gone from the store; upload the file again.",
                field=file.path,
            ) from error
        except Damaged as error:
            raise Damaged(f"{file.path!r}: {error.message}", error.digest, error.pieces) from error
        folders.update(place.parents[: len(place.relative_to(building).parts)])
    for each in folders:
        if each.is_relative_to(building):
            sync_folder(each)


def _place(sha256: str, place: Path, blob: Callable[[str], Path]) -> None:
    for attempt in range(3):
        try:
            _link(blob(sha256), place)
        except FileNotFoundError:
            if attempt == 2:
                raise
        else:
            return


def _link(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, place)
        place.chmod(0o444)
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
