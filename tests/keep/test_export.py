from io import StringIO

import pandas as pd

import patchwright as pw
from patchwright.keep.export import csv_text
from tiny import pair_of


def test_csv_gives_back_every_number_exactly(model: pw.Model) -> None:
    result = pw.patch(model, pair_of([1, 2, 3, 4], [1, 5, 3, 4]), "v", "head_position")
    table = pd.read_csv(StringIO(csv_text(result)), float_precision="round_trip")
    assert table["patched"].tolist() == result.patched.values.ravel().tolist()
    assert table["effect"].tolist() == result.effect.values.ravel().tolist()
    assert table["place"].tolist()[:2] == ["L0H0.v@0", "L0H0.v@1"]
