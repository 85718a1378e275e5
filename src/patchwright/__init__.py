"""Patchwright: which part of a language model caused its answer.

`load_model` or `wrap_model`, a `Pair` of prompts, then `patch`; a `Result` comes
back. Importing this package loads neither PyTorch nor Streamlit: names are
resolved when they are first used, and `__init__.pyi` is the list of them.
"""

from typing import Any

import lazy_loader

_exported, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_RENAMED = {"Tally": "BatchStatus"}
"""Older names, which are still answered for a release, and today's."""


def __getattr__(name: str) -> Any:
    if name != "__version__":
        return _exported(_RENAMED.get(name, name))
    from importlib.metadata import version

    return version("patchwright")
