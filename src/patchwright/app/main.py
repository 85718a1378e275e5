"""The page: `patchwright app` runs this file under Streamlit."""

import streamlit as st

from patchwright.app.views import patch, side

st.set_page_config(page_title="Patchwright", page_icon="🧵", layout="wide")

# Streamlit leaves six lines above the page, and code in a heading may not break.
st.html("<style>.stMainBlockContainer{padding-top:3rem} h4 code{white-space:nowrap}</style>")

model = side.shown()
if model is not None:
    patch.show(model)
