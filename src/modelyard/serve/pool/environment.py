"""The environment variables that an executor is started with: nothing of the node's but what it needs."""

import os
from pathlib import Path


def environment(folder: Path, threads: int, device: str) -> dict[str, str]:
    """Variables of an executor that lives in ``folder``, computes with ``threads`` and sees ``device`` alone.

    Of the node's own only the way to programs is left: no key, no setting leaks.
    """
    count = str(threads)
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH") if name in os.environ
    }
    return (
        kept
        | {
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONNOUSERSITE": "1",
            "PYTHONIOENCODING": "utf-8:replace",
            "OMP_NUM_THREADS": count,
            "MKL_NUM_THREADS": count,
            "OPENBLAS_NUM_THREADS": count,
            "NUMEXPR_NUM_THREADS": count,
            "RAYON_NUM_THREADS": count,
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
        }
        | _visible(device)
    )


def _visible(device: str) -> dict[str, str]:
    """What a framework is to see of the machine's accelerators: the one device, or none."""
    kind, _, which = device.partition(":")
    if kind != "cuda":
        return {"CUDA_VISIBLE_DEVICES": ""}
    # The node's own order where its administrator chose the devices, else that of NVML.
    order = os.environ.get(
        "CUDA_DEVICE_ORDER", "" if "CUDA_VISIBLE_DEVICES" in os.environ else "PCI_BUS_ID"
    )
    return {"CUDA_VISIBLE_DEVICES": which} | ({"CUDA_DEVICE_ORDER": order} if order else {})
