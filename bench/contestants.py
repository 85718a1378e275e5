"""The contestants, each in a process of its own: `sweeps.py` starts this file.

Every contestant gets the same model and prompts, makes the base runs itself and
returns the logit difference after each patch, clean into corrupted.
"""

import argparse
import json
import os
import random
import resource
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Protocol

from cases import CASES, SEED, By, Case, Shape, Spot
from work import matmul_peak

WARM_UP_SPOTS = 4
PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm")
"""Operators that are matrix products, as PyTorch's profiler calls them."""

INVOKES = 45
"""Places that nnsight runs in one trace, batched: more of them made it no faster."""


class Contestant(Protocol):
    """A way to do a sweep."""

    library: str
    samples: bool
    """Whether it can do some places of a sweep without doing all."""

    def values(self, case: Case, spots: Sequence[Spot]) -> list[float]:
        """Both base runs, then the logit difference after patching each spot."""
        ...


class Patchwright:
    """This project's engine: all places at once."""

    library = "patchwright"
    samples = False

    def __init__(self, model: Any, _shape: Shape) -> None:
        self._pw: Any = import_module("patchwright")
        self._model: Any = self._pw.wrap_model(model, None)

    def values(self, case: Case, spots: Sequence[Spot]) -> list[float]:
        clean, corrupt, answer, wrong = case.prompts()
        pair = self._pw.Pair(clean=clean, corrupt=corrupt, answer=answer, wrong=wrong)
        per = "head_position" if case.by == "position_head" else case.by
        result = self._pw.patch(self._model, pair, site=case.site, per=per, bos=False)
        axes = [axis for axis in ("layer", "position", "head") if axis in result.patched.dims]
        numbers = result.patched.transpose(*axes).values.ravel().tolist()
        found = dict(zip(case.spots(), numbers, strict=True))
        return [found[spot] for spot in spots]


class Hooks:
    """Plain forward hooks on the Hugging Face model: one whole run for each place."""

    library = "transformers"
    samples = True

    def __init__(self, model: Any, shape: Shape) -> None:
        self._torch: Any = import_module("torch")
        self._model = model
        self._shape = shape

    def values(self, case: Case, spots: Sequence[Spot]) -> list[float]:
        prompts = case.prompts()
        clean, corrupt = (self._torch.tensor([ids]) for ids in prompts[:2])
        difference = _logit_difference(prompts.answer, prompts.wrong)
        cache: list[Any] = []
        handles = [module.register_forward_pre_hook(_keep(cache)) for module in self._at(case)]
        self._model(clean)
        for handle in handles:
            handle.remove()
        self._model(corrupt)
        patched: list[float] = []
        for spot in spots:
            copy = _copy(cache[spot.layer], _index(spot, self._shape))
            handle = self._at(case)[spot.layer].register_forward_pre_hook(copy)
            patched.append(difference(self._model(corrupt).logits))
            handle.remove()
        return patched

    def _at(self, case: Case) -> list[Any]:
        """For each layer, the module whose input is the site."""
        layers = range(self._shape.n_layers)
        return [module_before(self._model, self._shape, case, layer) for layer in layers]


_MODULES = {
    "gpt2": ("transformer.h", "attn.c_proj"),
    "llama": ("model.layers", "self_attn.o_proj"),
}
"""Of each family the list of its layers, and in a layer the module that heads' outputs enter."""


def module_before(model: Any, shape: Shape, case: Case, layer: int) -> Any:
    """The module whose input is the case's site; of the Hugging Face model, or of what wraps it."""
    layers, heads = _MODULES[shape.family]
    block = attrgetter(layers)(model)[layer]
    return block if case.site == "resid_pre" else attrgetter(heads)(block)


def _keep(cache: list[Any]) -> Callable[[Any, tuple[Any, ...]], None]:
    return lambda _module, inputs: cache.append(inputs[0].clone())


def _copy(source: Any, index: tuple[Any, ...]) -> Callable[[Any, tuple[Any, ...]], None]:
    def copy(_module: Any, inputs: tuple[Any, ...]) -> None:
        inputs[0][index] = source[index]

    return copy


def _index(spot: Spot, shape: Shape) -> tuple[Any, ...]:
    """Where a spot lies in a module's input, [batch, position, features]."""
    position = slice(None) if spot.position is None else spot.position
    if spot.head is None:
        return (slice(None), position)
    return (slice(None), position, slice(spot.head * shape.d_head, (spot.head + 1) * shape.d_head))


def _logit_difference(answer: int, wrong: int) -> Callable[[Any], Any]:
    """At the last position of the first row of logits, [batch, position, vocab]."""
    return lambda logits: (logits[0, -1, answer] - logits[0, -1, wrong]).item()


_LENS_SWEEPS: dict[By, str] = {
    "position": "get_act_patch_resid_pre",
    "head": "get_act_patch_attn_head_out_all_pos",
    "position_head": "get_act_patch_attn_head_out_by_pos",
}
_LENS_AXES: dict[By, list[str]] = {
    "position": ["layer", "pos"],
    "head": ["layer", "head_index"],
    "position_head": ["layer", "pos", "head_index"],
}


class TransformerLens:
    """The sweeps of TransformerLens's `patching.py`, on unprocessed weights."""

    library = "transformer-lens"
    samples = True

    def __init__(self, model: Any, _shape: Shape) -> None:
        sources: Any = import_module("transformer_lens.model_bridge.sources")
        self._patching: Any = import_module("transformer_lens.patching")
        self._torch: Any = import_module("torch")
        self._pandas: Any = import_module("pandas")
        name = type(model).__name__
        self._model = sources.build_bridge_from_module(model, name, hf_config=model.config).eval()

    def values(self, case: Case, spots: Sequence[Spot]) -> list[float]:
        prompts = case.prompts()
        clean, corrupt = (self._torch.tensor([ids]) for ids in prompts[:2])
        _, cache = self._model.run_with_cache(clean)
        self._model(corrupt)
        answer, wrong = prompts.answer, prompts.wrong

        def difference(logits: Any) -> Any:
            return logits[0, -1, answer] - logits[0, -1, wrong]

        sweep = getattr(self._patching, _LENS_SWEEPS[case.by])
        which = self._some(case, spots)
        return sweep(self._model, corrupt, cache, difference, **which).ravel().tolist()

    def _some(self, case: Case, spots: Sequence[Spot]) -> dict[str, Any]:
        """The arguments that restrict a sweep to `spots`; none for all of them."""
        if list(spots) == case.spots():
            return {}
        rows = [[index for index in spot if index is not None] for spot in spots]
        table = self._pandas.DataFrame(rows, columns=_LENS_AXES[case.by], dtype=int)
        return {"index_df": table, "index_axis_names": None}


class NNsight:
    """nnsight: `INVOKES` places in one trace, which it runs as one batch."""

    library = "nnsight"
    samples = True

    def __init__(self, model: Any, shape: Shape) -> None:
        nnsight: Any = import_module("nnsight")
        self._save: Any = nnsight.save
        self._torch: Any = import_module("torch")
        tokenizer = _numbers_tokenizer(shape.n_vocab)
        self._model = nnsight.TransformersModel(model, tokenizer=tokenizer, task="text-generation")
        self._shape = shape

    def values(self, case: Case, spots: Sequence[Spot]) -> list[float]:
        prompts = case.prompts()
        clean, corrupt = (self._torch.tensor([ids]) for ids in prompts[:2])
        cache = self._clean(case, clean)
        with self._model.trace(corrupt):
            pass
        patched: list[float] = []
        for start in range(0, len(spots), INVOKES):
            patched.extend(self._batch(case, corrupt, cache, spots[start : start + INVOKES]))
        return patched

    def _clean(self, case: Case, tokens: Any) -> list[Any]:
        with self._model.trace(tokens):
            cache: list[Any] = self._save([])
            for layer in range(self._shape.n_layers):
                cache.append(module_before(self._model, self._shape, case, layer).input)
        return cache

    def _batch(
        self, case: Case, tokens: Any, cache: list[Any], spots: Sequence[Spot]
    ) -> list[float]:
        _, _, answer, wrong = case.prompts()
        difference = _logit_difference(answer, wrong)
        with self._model.trace() as tracer:
            values: list[float] = self._save([])
            for spot in spots:
                with tracer.invoke(tokens):
                    index = _index(spot, self._shape)
                    module = module_before(self._model, self._shape, case, spot.layer)
                    module.input[index] = cache[spot.layer][index]
                    values.append(difference(self._model.output.logits))
        return values


def _numbers_tokenizer(n_vocab: int) -> Any:
    """A tokenizer whose words are numbers: nnsight wants one, though ids are given."""
    tokenizers: Any = import_module("tokenizers")
    transformers: Any = import_module("transformers")
    words = {str(i): i for i in range(n_vocab)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="0"))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="0", pad_token="0", bos_token="0", eos_token="0"
    )


CONTESTANTS: dict[str, Callable[[Any, Shape], Contestant]] = {
    "patchwright": Patchwright,
    "hooks": Hooks,
    "transformer_lens": TransformerLens,
    "nnsight": NNsight,
}


def random_model(shape: Shape) -> Any:
    """The Hugging Face model of the shape, with random weights, the same at every call."""
    torch: Any = import_module("torch")
    transformers: Any = import_module("transformers")
    torch.manual_seed(SEED)
    if shape.family == "llama":
        # What no size says is SmolLM2's: a tied unembedding, the base of the rotary angles.
        llama = transformers.LlamaConfig(
            num_hidden_layers=shape.n_layers,
            num_attention_heads=shape.n_heads,
            num_key_value_heads=shape.n_kv_heads,
            hidden_size=shape.d_model,
            intermediate_size=shape.d_mlp,
            vocab_size=shape.n_vocab,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        )
        return transformers.LlamaForCausalLM(llama).eval()
    gpt2 = transformers.GPT2Config(
        n_layer=shape.n_layers,
        n_head=shape.n_heads,
        n_embd=shape.d_model,
        n_inner=shape.d_mlp,
        vocab_size=shape.n_vocab,
    )
    return transformers.GPT2LMHeadModel(gpt2).eval()


def measure(contestant: Contestant, case: Case, repeats: int, sample: int) -> Any:
    """Median seconds of a whole sweep, and the values of the places that were run.

    A contestant that is given only `sample` places is scaled up to all of them,
    its base runs counted once.
    """
    every = case.spots()
    spots = every
    if contestant.samples and 0 < sample < len(every):
        spots = sorted(random.Random(SEED).sample(every, sample), key=every.index)
    contestant.values(case, spots[:WARM_UP_SPOTS])
    timed = [_timed(contestant, case, spots) for _ in range(repeats)]
    runs = [seconds for seconds, _ in timed]
    if spots is not every:
        base = median(_timed(contestant, case, [])[0] for _ in range(repeats))
        runs = [base + (seconds - base) * len(every) / len(spots) for seconds in runs]
    return {
        "seconds": median(runs),
        "runs": runs,
        "measured": len(spots),
        "values": {
            every.index(spot): value for spot, value in zip(spots, timed[0][1], strict=True)
        },
    }


def _timed(contestant: Contestant, case: Case, spots: Sequence[Spot]) -> tuple[float, list[float]]:
    started = perf_counter()
    values = contestant.values(case, spots)
    return perf_counter() - started, values


def products_share(contestant: Contestant, case: Case) -> float:
    """The share of a sweep's operator time that is spent in matrix products."""
    profiler: Any = import_module("torch.profiler")
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as seen:
        contestant.values(case, case.spots())
    times = {event.key: float(event.self_cpu_time_total) for event in seen.key_averages()}
    return sum(times.get(name, 0.0) for name in PRODUCTS) / sum(times.values())


def peak_memory() -> int:
    """The largest this process has been, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def run(name: str, case: Case, repeats: int, sample: int) -> dict[str, Any]:
    """What one contestant does in one case: a report that JSON can hold."""
    torch: Any = import_module("torch")
    model = random_model(case.shape)
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    try:
        contestant = CONTESTANTS[name](model, case.shape)
    except ModuleNotFoundError as error:
        return {"absent": str(error)}
    del model
    at_start = peak_memory()
    with torch.no_grad():
        found = measure(contestant, case, repeats, sample)
        memory = {"weights": weights, "at_start": at_start, "peak": peak_memory()}
        if not contestant.samples:
            found["products_share"] = products_share(contestant, case)
    libraries = {lib: version(lib) for lib in ("torch", "transformers", contestant.library)}
    return {**found, "memory": memory, "libraries": libraries}


def main() -> None:
    """Run one contestant in one case (or measure the peak) and write its report."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("name", choices=[*CONTESTANTS, "peak"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--case", choices=CASES, default="resid_pre")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch: Any = import_module("torch")
    torch.set_num_threads(options.threads)
    if options.name == "peak":
        report = {"flops": matmul_peak()}
    else:
        case = CASES[options.case].with_layers(options.layers)
        report = run(options.name, case, options.repeats, options.sample)
    options.out.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
