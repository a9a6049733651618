"""A model of the transformers library from its folder: safetensors only, no code of the model's own."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any, Tuple

from ..adapter import LoadError

PRECISIONS = ("float32", "bfloat16")


def load(auto: str, folder: Path, device: str, threads: int, precision: str) -> Tuple[Any, Any]:
    """PyTorch, and the model in evaluation mode on ``device``, by the class ``auto`` of transformers.

    Raises LoadError for what transformers cannot load, and for weights that are missing: it would fill
    them with random numbers and only warn.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    transformers: Any = import_module("transformers")  # not the file beside this one

    if precision not in PRECISIONS:
        raise LoadError("the precision %r is not known; known: %s" % (precision, ", ".join(PRECISIONS)))
    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    newer = tuple(int(part) for part in transformers.__version__.split(".")[:2]) >= (4, 56)
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        if auto == "AutoModel":
            auto = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel"}.get(config.model_type, auto)
        model, told = getattr(transformers, auto).from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **{"dtype" if newer else "torch_dtype": getattr(torch, precision)},
        )
    except (OSError, ValueError) as error:
        raise LoadError("transformers cannot load the model: %s" % error) from error
    missing = sorted(name for name in told["missing_keys"] if "pooler" not in name)
    if missing:
        raise LoadError(
            "the weights have no %s%s, which the model needs"
            % (", ".join(missing[:3]), " and %d more" % (len(missing) - 3) if len(missing) > 3 else "")
        )
    return torch, model.to(device).eval()
