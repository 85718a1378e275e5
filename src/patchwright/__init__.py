"""Patchwright: which part of a language model caused its answer.

`load_model` or `wrap_model`, a `Pair` of prompts, then `patch`; a `Result` comes
back. Importing this package loads neither PyTorch nor Streamlit: names are
resolved when they are first used, and `__init__.pyi` is the list of them.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("patchwright")
