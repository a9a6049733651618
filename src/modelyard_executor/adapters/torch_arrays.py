"""Between NumPy's arrays and PyTorch's tensors."""

from typing import Any


def prepare(threads: int) -> Any:
    """PyTorch, computing with so many threads."""
    import torch

    torch.set_num_threads(threads)
    return torch


def to_torch(array: Any, device: str, *, bfloat16: bool = False) -> Any:
    """A tensor of its own: a model may write into what it is given."""
    import torch

    tensor = torch.from_numpy(array.copy())
    if bfloat16:
        tensor = tensor.to(torch.bfloat16)
    return tensor if device == "cpu" else tensor.to(device)


def to_numpy(tensor: Any) -> Any:
    """An array; bfloat16, which NumPy does not have, as float32."""
    import torch

    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.to(torch.float32)
    return tensor.resolve_conj().resolve_neg().cpu().numpy()
