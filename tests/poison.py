"""A folder of somebody else's, with code in it that leaves a mark when it runs."""

import importlib.metadata
import sys
from pathlib import Path


def poisoned(folder: Path) -> Path:
    """Fill a folder with modules of every name that may be imported; where each leaves its mark."""
    mark = folder / "mark"
    names = {name for name in importlib.metadata.packages_distributions() if name.isidentifier()}
    for name in names | set(sys.stdlib_module_names) | {"sitecustomize", "usercustomize"}:
        (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write('{name} ')\n")
    return mark
