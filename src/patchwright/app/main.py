"""The page: `patchwright app` runs this file under Streamlit."""

import streamlit as st

from patchwright.app.views import patch, side

st.set_page_config(page_title="Patchwright", page_icon="🧵", layout="wide")

model = side.shown()
if model is not None:
    patch.show(model)
