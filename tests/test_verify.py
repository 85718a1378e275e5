import json
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor
from transformers import GPT2LMHeadModel, GPT2Tokenizer

import hooks
import patchwright as pw
import slow_patching
from patchwright.errors import InputError
from patchwright.model.catalog import DEMO
from patchwright.places import parse_place
from patchwright.verify import published_figures, read_figures, verify_figures


def test_the_demo_model_gives_the_figures_that_ship_with_it(demo: pw.Model) -> None:
    checks = verify_figures(demo, published_figures("demo"))
    assert len(checks) > 10
    assert all(check.passed for check in checks)


def test_the_demo_models_figures_are_those_of_hooks() -> None:
    figures = published_figures("demo")
    hugging = GPT2LMHeadModel.from_pretrained(DEMO, attn_implementation="eager").eval()
    tokenizer = GPT2Tokenizer.from_pretrained(DEMO)
    assert tokenizer.bos_token_id is not None

    def ids(text: str) -> list[int]:
        return [int(str(tokenizer.bos_token_id)), *tokenizer.encode(text)]

    def difference(values: Tensor, pair: pw.Pair) -> float:
        answer, wrong = (tokenizer.encode(str(one[0]))[0] for one in (pair.answers, pair.wrongs))
        return float(values[-1, answer] - values[-1, wrong])

    prompts = [(ids(str(pair.clean)), ids(str(pair.corrupt)), pair) for pair in figures.pairs]
    cleans = [difference(hooks.logits(hugging, clean), pair) for clean, _, pair in prompts]
    corrupts = [difference(hooks.logits(hugging, corrupt), pair) for _, corrupt, pair in prompts]
    assert cleans == pytest.approx(figures.clean, abs=1e-3)
    for text, expected in figures.effects.items():
        place = parse_place(text)
        patched = [
            difference(slow_patching.cell_logits(hugging, corrupt, clean, place), pair)
            for clean, corrupt, pair in prompts
        ]
        moved = sum(patched) - sum(corrupts)
        assert moved / (sum(cleans) - sum(corrupts)) == pytest.approx(expected, abs=1e-3), text


def test_a_wrong_figure_fails_and_the_others_do_not(demo: pw.Model) -> None:
    right = published_figures("demo")
    place = next(iter(right.effects))
    wrong = replace(right, effects=right.effects | {place: right.effects[place] + 0.1})
    failed = [check.name for check in verify_figures(demo, wrong) if not check.passed]
    assert failed == [place]


def test_figures_without_bos_are_recomputed_without(demo: pw.Model, tmp_path: Path) -> None:
    document = json.loads((DEMO / "demo-figures.json").read_text(encoding="utf-8"))
    document |= {"bos": False, "effects": {"L3H1.z": 1.0}}
    (tmp_path / "figures.json").write_text(json.dumps(document), encoding="utf-8")
    figures = read_figures(tmp_path / "figures.json")
    with_bos, without = (
        pw.patch(demo, figures.pairs, site="z", bos=bos).clean.pairs[0].logit_diff
        for bos in (True, False)
    )
    found = next(check.found for check in verify_figures(demo, figures))
    assert found == without != with_bos


def test_the_figures_of_smollm2_are_those_of_the_design() -> None:
    figures = published_figures("smollm2")
    assert (figures.bos, figures.tolerance) == (False, 2e-3)
    assert figures.clean == (6.1196,)
    assert round(figures.effects["L23H3.z"], 2) == 0.58


def test_the_figures_of_gpt2_are_those_of_the_reference() -> None:
    figures = published_figures("gpt2")
    assert figures.tolerance == 2e-3
    assert sum(figures.clean) / len(figures.clean) == pytest.approx(3.5519, abs=1e-3)
    assert [pair.clean for pair in figures.pairs[::2]] == [
        pair.corrupt for pair in figures.pairs[1::2]
    ]
    places = [parse_place(text) for text in figures.effects]
    assert {place.site for place in places} == {
        *("resid_pre", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern")
    }
    assert figures.effects["L9.resid_pre@14"] == 0.9384
    assert figures.effects["L10H7.z"] == -0.4799


def test_a_model_without_figures_is_refused() -> None:
    with pytest.raises(InputError, match="verify demo, smollm2, gpt2"):
        published_figures("distilgpt2")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", r"Invalid JSON: EOF"),
        ("[]", r"should be an object"),
        ("{}", r"model: it is missing\)"),
        ('{"model": "x"}', r"source: it is missing\)"),
    ],
)
def test_a_file_without_figures_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "figures.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=rf"holds no figures to verify \(.*{says}"):
        read_figures(path)


def test_figures_can_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    document = {
        "model": "m",
        "source": "s",
        "tolerance": 0.1,
        "pairs": [{"clean": "a", "corrupt": "b", "answer": "c", "wrong": "d"}],
        "clean": [1.0],
        "effects": {"L0.mlp_out@1": 0.5},
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    assert read_figures(path).effects == {"L0.mlp_out@1": 0.5}
