"""Whether a model needs a GPU, by what serves it, what it asks for, and how large it is."""

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from modelyard.core.model import Analysis
from modelyard.core.units import format_count

LARGE = 1_000_000_000  # weights from which on a processor takes seconds for what a GPU does in one
# Packages that do nothing without a CUDA device.
_CUDA = frozenset(
    {"flash-attn", "bitsandbytes", "auto-gptq", "autoawq", "gptqmodel", "mamba-ssm", "causal-conv1d", "vllm", "sglang",
     "tensorrt", "tensorrt-llm", "onnxruntime-gpu", "cuequivariance-torch", "deepspeed", "apex", "xformers",
     "transformer-engine", "cudf-cu12", "cuml-cu12", "nvidia-dali-cuda120"}
)  # fmt: skip
_EITHER = frozenset({"torch", "jax", "tensorflow", "keras"})


def with_gpu(analysis: Analysis) -> Analysis:
    """The analysis with what is known of its need of a GPU; what its format told stays."""
    if analysis.gpu == "needs":
        return analysis
    names: dict[str, str] = {}
    for line in analysis.requirements:
        try:
            names[str(canonicalize_name(Requirement(line).name))] = line
        except InvalidRequirement:
            continue  # of a family's own file, which says so when it is built
    for name, line in names.items():
        if name in _CUDA or name.startswith(("cupy-cuda", "nvidia-cu")):
            return msgspec.structs.replace(analysis, gpu="needs", gpu_because=f"{line} runs on CUDA alone")
    either = next((name for name in sorted(_EITHER & names.keys())), None)
    if either is None:
        return analysis
    if analysis.parameters is not None and analysis.parameters >= LARGE:
        why = f"{format_count(analysis.parameters)} weights are slow on a processor"
        return msgspec.structs.replace(analysis, gpu="should", gpu_because=why)
    if analysis.gpu == "no":
        return msgspec.structs.replace(analysis, gpu="can", gpu_because=f"{either} computes on either")
    return analysis
