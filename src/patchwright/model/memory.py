"""How much main memory is free. Importing this loads no PyTorch."""

import psutil


def available_memory() -> int:
    """Bytes of main memory that can still be used without swapping."""
    return psutil.virtual_memory().available
