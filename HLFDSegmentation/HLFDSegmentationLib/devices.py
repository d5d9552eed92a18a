"""Where networks run."""

from __future__ import annotations

import torch

from .errors import InputError


def available_devices() -> list[str]:
    """Names that `choose_device` takes on this computer, the fastest first."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cuda = [f"cuda:{number}" for number in range(count) if _is_built_for(number)]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def _is_built_for(number: int) -> bool:
    """Whether this torch holds code for a GPU, or some that the GPU's driver can translate.

    It says that a GPU is available also where it is too old or too new for it; every computation fails then.
    """
    built = [arch.partition("_") for arch in torch.cuda.get_arch_list()]
    nvidia = [(kind, divmod(int(digits.rstrip("af")), 10)) for kind, _, digits in built if kind in ("sm", "compute")]
    if not nvidia:
        return True
    major, minor = torch.cuda.get_device_capability(number)
    return any(own[0] == major and own[1] <= minor if kind == "sm" else own <= (major, minor) for kind, own in nvidia)


def unusable_cards() -> str | None:
    """A sentence on graphics cards that this torch sees and cannot compute on; none where there are none."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = dict.fromkeys(torch.cuda.get_device_name(number) for number in range(count) if not _is_built_for(number))
    if not names:
        return None
    return (
        f"{' and '.join(names)} cannot be used: the installed PyTorch ({torch.__version__}) has no code for "
        "such a card. Install a PyTorch that has."
    )


def device_title(name: str) -> str:
    """What a user reads for one of `available_devices`, for example "NVIDIA RTX A5000 (24 GB)".

    Where cards are alike, their names follow: one of them may drive the display.
    """
    if name.startswith("cuda"):
        properties = torch.cuda.get_device_properties(name)
        title = f"{properties.name} ({properties.total_memory / 2**30:.0f} GB)"
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return f"{title}, {name}" if names.count(properties.name) > 1 else title
    if name == "mps":
        return "Apple GPU"
    threads = torch.get_num_threads()
    return f"CPU ({threads} thread{'s' if threads > 1 else ''})"


def memory_format(device: torch.device) -> torch.memory_format:
    """The order of a network's numbers in memory by which a device convolves fastest.

    Not on Apple's GPUs: there, PyTorch (2.10 to 2.13 at least) computes wrong gradients of batch normalization in it,
    or fails (its issue 175189).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def is_out_of_memory(error: BaseException) -> bool:
    """An error says that the memory of the device or of the computer did not suffice."""
    # Only CUDA has a type of its own for it, and its libraries do not use it; MPS, the CPU, ITK and memory-mapped files
    # tell it in the text.
    told = (
        "out of memory",
        "not enough memory",
        "allocate memory",
        "bad_alloc",
        "STATUS_ALLOC_FAILED",
        "ALLOCATION_FAILED",
        # cuDNN tries its ways of computing a convolution, and passes over each that finds no memory; so it is taken for
        # that where none is left.
        "Unable to find a valid cuDNN algorithm",
        "unable to find an engine",
    )
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(text in str(error) for text in told)


def is_card_fault(error: BaseException) -> bool:
    """An error says that the graphics card of NVIDIA or AMD failed, which closes it to this process for good."""
    words = ("CUDA", "cuDNN", "CUDNN", "HIP error")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def release_memory() -> None:
    """Gives what torch keeps of the graphics cards' memory, and does not use, to other programs."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def choose_device(name: str = "auto", local_rank: int = 0) -> torch.device:
    """The device of this name.

    Args:
        name: "auto" (the fastest there is), "cpu", "cuda", "cuda:N" or "mps".
        local_rank: which of the GPUs that can be computed on "auto" and "cuda" mean where several processes share a
            computer.

    Raises:
        InputError: this computer has no such device.
    """
    devices = available_devices()
    gpus = [device for device in devices if device.startswith("cuda")]
    if name == "auto" and not gpus:
        name = devices[0]
    elif name in ("auto", "cuda"):
        missing = f"cuda for process {local_rank + 1}" if local_rank else "cuda"
        name = gpus[local_rank] if local_rank < len(gpus) else missing
    if name not in devices:
        why = f" {unusable}" if (unusable := unusable_cards()) else ""
        raise InputError(f"This computer has no device '{name}'. Use one of {', '.join(['auto', *devices])}.{why}")
    return torch.device(name)
