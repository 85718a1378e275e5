"""A Space of the Streamlit kind runs this file; it runs the page."""

import runpy
from importlib.resources import files

runpy.run_path(str(files("patchwright.app") / "main.py"), run_name="__main__")
