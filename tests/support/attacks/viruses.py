"""EICAR's test file, which is harmless, in every container."""

import bz2
import gzip
import io
import lzma
import zipfile

import joblib
import lz4.frame
import numpy
import zstandard

from support.attacks import Attack
from support.attacks.containers import seven, tarred, zipped

# In two parts, so that no scanner takes this file for it.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def viruses() -> list[Attack]:
    """All of them."""
    held, array = io.BytesIO(), io.BytesIO()
    joblib.dump(EICAR, held, compress=3)
    numpy.save(array, numpy.frombuffer(EICAR, dtype=numpy.uint8))
    made = {
        "eicar.com": EICAR,
        "eicar.txt": EICAR,
        "weights.bin": EICAR,
        "eicar.zip": zipped({"eicar.com": EICAR}),
        "stored.zip": zipped({"eicar.com": EICAR}, zipfile.ZIP_STORED),
        "twice.zip": zipped({"a.zip": zipped({"eicar.com": EICAR})}),
        "eicar.pt": zipped({"archive/data.pkl": b"\x80\x02}.", "archive/extra": EICAR}),
        "eicar.keras": zipped({"config.json": b"{}", "assets/eicar": EICAR}),
        "eicar.gz": gzip.compress(EICAR),
        "eicar.bz2": bz2.compress(EICAR),
        "eicar.xz": lzma.compress(EICAR),
        "eicar.zst": zstandard.compress(EICAR),
        "eicar.lz4": lz4.frame.compress(EICAR),
        "eicar.tar": tarred({"eicar.com": EICAR}),
        "eicar.tar.gz": gzip.compress(tarred({"eicar.com": EICAR})),
        "eicar.7z": seven({"eicar.com": EICAR}),
        "eicar.npy": array.getvalue(),
        "eicar.joblib": held.getvalue(),
    }
    return [Attack(name, data, "EICAR") for name, data in made.items()]
