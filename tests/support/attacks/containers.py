"""One pickle that runs something, in everything that a file of a model may be packed into."""

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import joblib
import lz4.frame
import numpy
import py7zr
import zstandard

from support.attacks import Attack
from support.attacks.pickles import _Reduced, evil


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return held.getvalue()


def tarred(files: Mapping[str, bytes], mode: Any = "w", **options: Any) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=mode, **options) as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return held.getvalue()


def seven(files: Mapping[str, bytes], filters: list[dict[str, int]] | None = None) -> bytes:
    held = io.BytesIO()
    with py7zr.SevenZipFile(held, "w", filters=filters) as archive:
        for path, data in files.items():
            archive.writestr(data, path)
    return held.getvalue()


def torch_zip(data_pkl: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """As ``torch.save`` has written since 1.6."""
    return zipped(
        {"archive/data.pkl": data_pkl, "archive/byteorder": b"little", "archive/data/0": bytes(64), "archive/version": b"3\n"},
        method,
    )  # fmt: skip


def torch_legacy(data_pkl: bytes) -> bytes:
    """As ``torch.save`` wrote before: five pickles behind each other, and numbers."""
    system = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    return b"".join(
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2), pickle.dumps(system, 2), data_pkl, pickle.dumps(["0"], 2),
         struct.pack("<q", 4) + bytes(16))
    )  # fmt: skip


def _joblib(value: object, **options: Any) -> bytes:
    held = io.BytesIO()
    joblib.dump(value, held, **options)
    return held.getvalue()


def _npy(value: Any) -> bytes:
    held = io.BytesIO()
    numpy.save(held, value, allow_pickle=True)
    return held.getvalue()


def _npz(**values: Any) -> bytes:
    held = io.BytesIO()
    numpy.savez_compressed(held, **values)
    return held.getvalue()


def _changed(data: bytes, at: int, to: bytes) -> bytes:
    return data[:at] + to + data[at + len(to) :]


def _without_magic(tar: bytes) -> bytes:
    """The form before POSIX: the header's checksum is all that tells it."""
    header = bytearray(tar[:512])
    header[257:345] = bytes(88)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + tar[512:]


def containers(marker: str) -> list[Attack]:
    """All of them."""
    import os

    payload = evil(marker)
    old = evil(marker, 0)
    thing = _Reduced(os.system, f"touch {marker}")
    with_arrays = {
        "weights": numpy.arange(5000.0),
        "names": numpy.array(["a", None], dtype=object),
        "x": thing,
    }
    objects = numpy.array([thing, 1], dtype=object)
    record = numpy.empty(1, dtype=[("a", "i4"), ("b", "O")])
    record["b"][0] = thing
    tar = tarred({"model/weights.pkl": payload})
    made: dict[str, tuple[bytes, str]] = {
        "stored.pt": (torch_zip(payload), ""),
        "deflated.pt": (torch_zip(payload, zipfile.ZIP_DEFLATED), ""),
        "protocol-0.pt": (torch_zip(old), ""),
        "legacy.pth": (torch_legacy(payload), ""),
        "oldest.pt": (tarred({"pickle": payload, "storages": b"", "sys_info": pickle.dumps({}, 2), "tensors": b""}), ""),
        "other-member.pt": (zipped({"archive/data.pkl": pickle.dumps({}), "archive/data/0": bytes(8), "archive/extra/hidden": payload}), ""),
        "plain.joblib": (_joblib(with_arrays), "joblib"),
        "objects.joblib": (_joblib({"a": objects}), "joblib"),
        "zlib.joblib": (_joblib(with_arrays, compress=("zlib", 3)), "joblib"),
        "gzip.joblib": (_joblib(with_arrays, compress=("gzip", 3)), "joblib"),
        "bz2.joblib": (_joblib(with_arrays, compress=("bz2", 3)), "joblib"),
        "xz.joblib": (_joblib(with_arrays, compress=("xz", 3)), "joblib"),
        "lzma.joblib": (_joblib(with_arrays, compress=("lzma", 3)), "joblib"),
        "lz4.joblib": (_joblib(with_arrays, compress=("lz4", 3)), "joblib"),
        "old.joblib": (b"ZF0x" + b"%-17x" % len(payload) + zlib.compress(payload), ""),
        "objects.npy": (_npy(objects), "numpy"),
        "record.npy": (_npy(record), "numpy"),
        "version-2.npy": (b"\x93NUMPY\x02\x00" + struct.pack("<I", 118) + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n" + payload, "numpy"),
        "objects.npz": (_npz(a=objects, b=numpy.ones(3)), "numpy"),
        "pickle.gz": (gzip.compress(payload), ""),
        "gzip-twice.gz": (gzip.compress(gzip.compress(payload)), ""),
        "second-member.gz": (gzip.compress(b"N0") + gzip.compress(payload), ""),
        "pickle.bz2": (bz2.compress(payload), ""),
        "second-member.bz2": (bz2.compress(b"N0") + bz2.compress(payload), ""),
        "pickle.xz": (lzma.compress(payload), ""),
        "pickle.lzma": (lzma.compress(payload, lzma.FORMAT_ALONE), ""),
        "pickle.zst": (zstandard.compress(payload), ""),
        "pickle.lz4": (lz4.frame.compress(payload), ""),
        "pickle.z": (zlib.compress(payload), ""),
        "broken-behind.gz": (gzip.compress(payload)[:-6], ""),
        "model.tar": (tar, ""),
        "old-form.tar": (_without_magic(tarred({"m.pkl": payload}, format=tarfile.USTAR_FORMAT)), ""),
        "pax.tar": (tarred({"m" * 300 + ".pkl": payload}, format=tarfile.PAX_FORMAT), ""),
        "model.tar.gz": (gzip.compress(tar), ""),
        "model.tar.bz2": (bz2.compress(tar), ""),
        "model.tar.xz": (lzma.compress(tar), ""),
        "model.tgz": (gzip.compress(tar), ""),
        "lzma2.7z": (seven({"model/a.pkl": payload, "notes.txt": b"hello"}), ""),
        "lzma.7z": (seven({"a.pkl": payload}, [{"id": py7zr.FILTER_LZMA}]), ""),
        "copy.7z": (seven({"a.pkl": payload}, [{"id": py7zr.FILTER_COPY}]), ""),
        "bzip2.7z": (seven({"a.pkl": payload}, [{"id": py7zr.FILTER_BZIP2}]), ""),
        "deflate.7z": (seven({"a.pkl": payload}, [{"id": py7zr.FILTER_DEFLATE}]), ""),
        "bcj.7z": (seven({"a.pkl": payload}, [{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA2, "preset": 6}]), ""),
        "delta.7z": (seven({"a.pkl": payload}, [{"id": py7zr.FILTER_DELTA}, {"id": py7zr.FILTER_LZMA2, "preset": 6}]), ""),
        "bzip2.zip": (zipped({"a.pkl": payload}, zipfile.ZIP_BZIP2), ""),
        "lzma.zip": (zipped({"a.pkl": payload}, zipfile.ZIP_LZMA), ""),
        "zip-in-zip.zip": (zipped({"a.zip": zipped({"b.zip": zipped({"c.pkl": payload})})}), ""),
        "tar-in-zip.zip": (zipped({"a.tar.gz": gzip.compress(tar)}), ""),
        "seven-in-gzip.gz": (gzip.compress(seven({"a.pkl": payload})), ""),
        "weights.keras": (zipped({"config.json": b"{}", "metadata.json": b"{}", "assets/tokens.pkl": payload}), ""),
    }  # fmt: skip
    named = {title: (data, loads) for title, (data, loads) in made.items()}
    # --- under other names
    for suffix in (
        "txt",
        "safetensors",
        "onnx",
        "json",
        "png",
        "gguf",
        "md",
        "cbm",
        "tflite",
        "py",
        "h5",
        "unknown",
    ):
        named[f"renamed.{suffix}"] = (payload, "")
        named[f"renamed-zip.{suffix}"] = (torch_zip(payload), "")
        named[f"renamed-text.{suffix}"] = (old, "")
    named["README"] = (payload, "")
    # --- two things at once, and zips that two readers read differently
    archive = torch_zip(payload, zipfile.ZIP_DEFLATED)
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    directory = archive.index(b"PK\x01\x02")
    named |= {
        "picture-then-zip.png": (png + archive, ""),
        "text-then-zip.md": (b"# A model\n" + archive, ""),
        "pickle-then-zip.bin": (payload + zipped({"a.txt": b"x"}), ""),
        "zip-then-pickle-inside.bin": (pickle.dumps({}) + archive, ""),
        "safetensors-then-zip.safetensors": (struct.pack("<Q", 2) + b"{}" + archive, ""),
        "gguf-then-zip.gguf": (b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + archive, ""),
        "comment.zip": (archive[:-2] + struct.pack("<H", 20) + b"c" * 20, ""),
        "flag-of-encryption.pt": (_changed(_changed(archive, 6, b"\x01"), directory + 8, b"\x01"), ""),
        "wrong-checksum.pt": (_changed(_changed(archive, 14, b"\1\2\3\4"), directory + 16, b"\1\2\3\4"), ""),
        "no-directory.pt": (archive[:directory], ""),
    }  # fmt: skip
    return [Attack(title, data, "system", loads) for title, (data, loads) in named.items()]
