from csv import DictReader
from io import StringIO

import patchwright as pw
from patchwright.keep.export import csv_text
from tiny import pair_of


def test_csv_gives_back_every_number_exactly(model: pw.Model) -> None:
    result = pw.patch(model, pair_of([1, 2, 3, 4], [1, 5, 3, 4]), "v", "head_position")
    table = list(DictReader(StringIO(csv_text(result))))
    assert [float(row["patched"]) for row in table] == result.patched.values.ravel().tolist()
    assert [float(row["effect"]) for row in table] == result.effect.values.ravel().tolist()
    assert [row["place"] for row in table[:2]] == ["L0H0.v@0", "L0H0.v@1"]
