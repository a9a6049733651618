"""Archives that try to write elsewhere, or to be two things at once: the same tricks as zip, tar and 7z."""

import io
import stat
import tarfile
import warnings
import zipfile

from support.attacks import Attack

# Each: the names of its members, and what the verdict must say.
NAMES: dict[str, tuple[tuple[str, ...], str]] = {
    "climbs": (("a/../../out",), "outside"),
    "climbs-at-once": (("../out",), "outside"),
    "absolute": (("/tmp/out",), "outside"),
    "drive": (("C:/out",), "outside"),
    "backslash": (("..\\out",), "outside"),
    "twice": (("a.txt", "a.txt"), "twice"),
    "case": (("Model.txt", "model.TXT"), "some machines"),
    "composed": (("caf\u00e9.txt", "cafe\u0301.txt"), "some machines"),
    "compatible": (("\ufb01le", "file"), "some machines"),
    "full-width": (("\uff4dodel", "model"), "some machines"),
    "control": (("a\nb",), "control"),
    "sharp-s": (("stra\u00dfe", "STRASSE"), "some machines"),
}


def archives() -> list[Attack]:
    """All of them."""
    made: list[Attack] = []
    for title, (names, told) in NAMES.items():
        for form in ("zip", "tar", "7z"):
            if form == "7z" and title in (
                "climbs",
                "climbs-at-once",
                "absolute",
                "drive",
                "backslash",
                "control",
            ):
                continue  # its library refuses to write them
            made.append(Attack(f"{title}.{form}", _made(form, names), told))
    for target in ("/etc/passwd", "../../outside", "inside"):
        told = "a link" if target == "inside" else "leads outside"
        for kind, what in ((tarfile.SYMTYPE, "soft"), (tarfile.LNKTYPE, "hard")):
            made.append(
                Attack(
                    f"{what}-link-{target.strip('/.').replace('/', '-')}.tar", _special(kind, target), told
                )
            )
    for kind, what in (
        (tarfile.CHRTYPE, "character"),
        (tarfile.BLKTYPE, "block"),
        (tarfile.FIFOTYPE, "pipe"),
    ):
        made.append(Attack(f"{what}.tar", _special(kind, ""), "device or a pipe"))
    made.append(Attack("link.zip", _zip_special(stat.S_IFLNK, b"/etc/passwd"), "a link"))
    made.append(Attack("device.zip", _zip_special(stat.S_IFCHR, b""), "device or a pipe"))
    made.append(Attack("pipe.zip", _zip_special(stat.S_IFIFO, b""), "device or a pipe"))
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("name-1", b"x")
    made.append(Attack("two-names.zip", held.getvalue().replace(b"name-1", b"name-2", 1), "is called"))
    return made


def _made(form: str, names: tuple[str, ...]) -> bytes:
    if form == "7z":
        held = io.BytesIO()
        import py7zr

        with py7zr.SevenZipFile(held, "w") as archive:
            for name in names:
                archive.writestr(b"x", name)
        return held.getvalue()
    held = io.BytesIO()
    if form == "zip":
        with warnings.catch_warnings(), zipfile.ZipFile(held, "w") as archive:
            warnings.simplefilter("ignore")
            for name in names:
                archive.writestr(name, b"x")
        return held.getvalue()
    with tarfile.open(fileobj=held, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    return held.getvalue()


def _special(kind: bytes, target: str) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        member = tarfile.TarInfo("special")
        member.type, member.linkname = kind, target
        tar.addfile(member)
    return held.getvalue()


def _zip_special(kind: int, data: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        info = zipfile.ZipInfo("special")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, data)
    return held.getvalue()
