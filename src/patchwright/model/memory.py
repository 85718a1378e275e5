"""How much main memory is free. Importing this loads no PyTorch."""

import os


def available_memory() -> int | None:
    """Bytes of main memory that can still be used; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            sizes = dict(line.split(":") for line in lines)
        return int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pages = os.sysconf_names.get("SC_PHYS_PAGES") if hasattr(os, "sysconf_names") else None
        return None if pages is None else os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
