"""What Python shows of an object is a line, however much is in it."""

import patchwright as pw
from tiny import pair_of

PAIRS = [pair_of([1, 2, 3, 4], [1, 5, 3, 4]), pair_of([6, 2, 3, 4], [8, 5, 3, 4])]


def test_what_is_shown_of_an_object_is_one_line(model: pw.Model, demo: pw.Model) -> None:
    many = pw.patch(model, PAIRS)
    circuit = pw.Circuit.choose(pw.edge_attribution(model, PAIRS), model, top=500)
    together = pw.patch_together(model, PAIRS[0], ["L1H2.z"])
    shown = [
        repr(one) for one in (demo, demo.network, many, together, pw.statistics(many), circuit)
    ]
    assert all(len(one) < 100 and "\n" not in one for one in [*shown, str(circuit), str(demo)])
    assert shown[0] == "Model('demo': 6 layers, 6 heads, width 192, float32, cpu)"
    assert shown[2] == "Result('patch' on 'tiny': effect over pair 2, layer 3, position 4)"
    assert "one run" in shown[3]
    assert shown[4] == "Statistics(effect of 2 pairs over layer 3, position 4)"
