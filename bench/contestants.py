"""The contestants, each in a process of its own: `processes.py` starts this file.

Every contestant loads the same saved model, gets the same prompts, makes the base runs
itself and returns the logit difference after each patch, clean into corrupted.
"""

import argparse
import json
import os
import random
import resource
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Protocol

from cases import SEED, By, Case, Prompts, Shape, Spot
from work import ONEDNN, peaks

WARM_UP_SPOTS = 4
PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm", ONEDNN)
"""Operators that are matrix products, as PyTorch's profiler calls them."""

SHARD = "1GB"
"""The largest file that weights are saved in: saving copies one at a time."""

INVOKES = 45
"""Places that nnsight runs in one trace, batched: more of them made it no faster."""


class Contestant(Protocol):
    """A way to do a sweep."""

    library: str
    samples: bool
    """Whether it can do some places of a sweep without doing all."""

    def values(
        self, case: Case, spots: Sequence[Spot], pairs: Sequence[Prompts]
    ) -> list[list[float]]:
        """Of each pair both base runs, then the logit difference after patching each spot."""
        ...


class AbsentError(Exception):
    """Why a contestant cannot take part."""


class Patchwright:
    """This project's engine: all places of the spots' layers at once."""

    library = "patchwright"
    samples = False

    def __init__(self, folder: Path, _shape: Shape) -> None:
        self._pw: Any = import_module("patchwright")
        self._model: Any = self._pw.load_model(str(folder))
        self.resident: list[tuple[float, int]] = []
        """Resident bytes of this process, by the share of the last sweep that was done."""

    def values(
        self, case: Case, spots: Sequence[Spot], pairs: Sequence[Prompts]
    ) -> list[list[float]]:
        layers = sorted({spot.layer for spot in spots})
        per = "head_position" if case.by == "position_head" else case.by
        self.resident = []
        result = self._pw.patch(
            self._model,
            [self._pw.Pair(**pair._asdict()) for pair in pairs],
            site=case.site,
            per=per,
            bos=False,
            layers=layers,
            progress=self._look,
        )
        axes = [
            axis for axis in ("pair", "layer", "position", "head") if axis in result.patched.dims
        ]
        numbers = result.patched.transpose(*axes).values.reshape(len(pairs), -1).tolist()
        every = [spot for spot in case.spots() if spot.layer in layers]
        found = [dict(zip(every, own, strict=True)) for own in numbers]
        return [[own[spot] for spot in spots] for own in found]

    def _look(self, progress: Any) -> None:
        self.resident.append((progress.done / progress.total, resident_memory()))


class Former(Patchwright):
    """An earlier commit of it, which the process finds first."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        errors: Any = import_module("patchwright.errors")
        try:
            super().__init__(folder, shape)
        except errors.PatchwrightError as error:
            raise AbsentError(str(error).replace(str(folder), shape.name)) from error


class Hooks:
    """Plain forward hooks on the Hugging Face model: one whole run for each place."""

    library = "transformers"
    samples = True

    def __init__(self, folder: Path, shape: Shape) -> None:
        self._torch: Any = import_module("torch")
        self._model = hugging_face_model(folder)
        self._shape = shape

    def values(
        self, case: Case, spots: Sequence[Spot], pairs: Sequence[Prompts]
    ) -> list[list[float]]:
        clean, corrupt = _tokens(pairs)
        cache: list[Any] = []
        handles = [module.register_forward_pre_hook(_keep(cache)) for module in self._at(case)]
        self._model(clean)
        for handle in handles:
            handle.remove()
        self._model(corrupt)
        patched: list[list[float]] = []
        for spot in spots:
            copy = _copy(cache[spot.layer], _index(spot, self._shape))
            handle = self._at(case)[spot.layer].register_forward_pre_hook(copy)
            patched.append(_logit_differences(self._model(corrupt).logits, pairs).tolist())
            handle.remove()
        return [[own[i] for own in patched] for i in range(len(pairs))]

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


def _tokens(pairs: Sequence[Prompts]) -> tuple[Any, Any]:
    """The clean and the corrupted prompts, each [pair, position]."""
    torch: Any = import_module("torch")
    return torch.tensor([one.clean for one in pairs]), torch.tensor([one.corrupt for one in pairs])


def _logit_differences(logits: Any, pairs: Sequence[Prompts]) -> Any:
    """[pair], at the last position of logits [pair, position, vocab]."""
    every, last = range(len(pairs)), logits[:, -1]
    return last[every, [one.answer for one in pairs]] - last[every, [one.wrong for one in pairs]]


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

    def __init__(self, folder: Path, _shape: Shape) -> None:
        sources: Any = import_module("transformer_lens.model_bridge.sources")
        self._patching: Any = import_module("transformer_lens.patching")
        self._pandas: Any = import_module("pandas")
        model = hugging_face_model(folder)
        name = type(model).__name__
        self._model = sources.build_bridge_from_module(model, name, hf_config=model.config).eval()

    def values(
        self, case: Case, spots: Sequence[Spot], pairs: Sequence[Prompts]
    ) -> list[list[float]]:
        clean, corrupt = _tokens(pairs)
        _, cache = self._model.run_with_cache(clean)
        self._model(corrupt)
        sweep = getattr(self._patching, _LENS_SWEEPS[case.by])
        which = self._some(case, spots)
        metric = partial(_logit_differences, pairs=pairs)
        found = sweep(self._model, corrupt, cache, metric, reduce="none", **which)
        return found.values.reshape(-1, len(pairs)).T.tolist()

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

    def __init__(self, folder: Path, shape: Shape) -> None:
        nnsight: Any = import_module("nnsight")
        transformers: Any = import_module("transformers")
        self._save: Any = nnsight.save
        self._model = nnsight.TransformersModel(
            hugging_face_model(folder),
            tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
            task="text-generation",
        )
        self._shape = shape

    def values(
        self, case: Case, spots: Sequence[Spot], pairs: Sequence[Prompts]
    ) -> list[list[float]]:
        return [self._values(case, spots, pair) for pair in pairs]

    def _values(self, case: Case, spots: Sequence[Spot], pair: Prompts) -> list[float]:
        clean, corrupt = _tokens([pair])
        cache = self._clean(case, clean)
        with self._model.trace(corrupt):
            pass
        batches = (spots[start : start + INVOKES] for start in range(0, len(spots), INVOKES))
        return [
            value for batch in batches for value in self._batch(case, corrupt, cache, batch, pair)
        ]

    def _clean(self, case: Case, tokens: Any) -> list[Any]:
        with self._model.trace(tokens):
            cache: list[Any] = self._save([])
            for layer in range(self._shape.n_layers):
                cache.append(module_before(self._model, self._shape, case, layer).input)
        return cache

    def _batch(
        self, case: Case, tokens: Any, cache: list[Any], spots: Sequence[Spot], pair: Prompts
    ) -> list[float]:
        with self._model.trace() as tracer:
            values: list[float] = self._save([])
            for spot in spots:
                with tracer.invoke(tokens):
                    index = _index(spot, self._shape)
                    module = module_before(self._model, self._shape, case, spot.layer)
                    module.input[index] = cache[spot.layer][index]
                    values.append(_logit_differences(self._model.output.logits, [pair]).item())
        return values


def _numbers_tokenizer(n_vocab: int) -> Any:
    """A tokenizer whose words are numbers: a model is not loaded without, though ids are given."""
    tokenizers: Any = import_module("tokenizers")
    transformers: Any = import_module("transformers")
    words = {str(i): i for i in range(n_vocab)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="0"))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="0", pad_token="0", bos_token="0", eos_token="0"
    )


CONTESTANTS: dict[str, Callable[[Path, Shape], Contestant]] = {
    "patchwright": Patchwright,
    "former": Former,
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


def save(model: Any, folder: Path) -> None:
    """Put a model into a folder, for all contestants to load."""
    model.save_pretrained(folder, max_shard_size=SHARD)
    _numbers_tokenizer(model.config.vocab_size).save_pretrained(folder)


def hugging_face_model(folder: Path) -> Any:
    """The model in the folder, as Transformers loads it."""
    torch: Any = import_module("torch")
    transformers: Any = import_module("transformers")
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def measure(
    contestant: Contestant, case: Case, repeats: int, sample: int, pairs: Sequence[Prompts]
) -> Any:
    """Median seconds of a whole sweep of all pairs, and the values of the places that were run.

    A contestant that is given only `sample` places is scaled up to all of them,
    its base runs counted once.
    """
    every = case.spots()
    spots = every
    if contestant.samples and 0 < sample < len(every):
        spots = sorted(random.Random(SEED).sample(every, sample), key=every.index)
    contestant.values(case, spots[:WARM_UP_SPOTS], pairs[:1])
    timed = [_timed(contestant, case, spots, pairs) for _ in range(repeats)]
    runs = [seconds for seconds, _ in timed]
    if spots is not every:
        base = median(_timed(contestant, case, [], pairs)[0] for _ in range(repeats))
        runs = [base + (seconds - base) * len(every) / len(spots) for seconds in runs]
    indices = [every.index(spot) for spot in spots]
    return {
        "seconds": median(runs),
        "runs": runs,
        "measured": len(spots),
        "pairs": len(pairs),
        "values": {
            f"{pair}:{index}": value
            for pair, values in enumerate(timed[0][1])
            for index, value in zip(indices, values, strict=True)
        },
    }


def _timed(
    contestant: Contestant, case: Case, spots: Sequence[Spot], pairs: Sequence[Prompts]
) -> tuple[float, list[list[float]]]:
    started = perf_counter()
    values = contestant.values(case, spots, pairs)
    return perf_counter() - started, values


def products(contestant: Contestant, case: Case) -> dict[str, float]:
    """Shares of a sweep's operator time that matrix products take, by operator."""
    profiler: Any = import_module("torch.profiler")
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as seen:
        contestant.values(case, case.spots(), case.pairs(1))
    times = {event.key: float(event.self_cpu_time_total) for event in seen.key_averages()}
    return {name: times[name] / sum(times.values()) for name in PRODUCTS if name in times}


def peak_memory() -> int:
    """The largest this process has been, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident_memory() -> int:
    """How large this process is now, in bytes, where the system tells it; else its largest."""
    now = Path("/proc/self/statm")
    if not now.exists():
        return peak_memory()
    return int(now.read_text().split()[1]) * resource.getpagesize()


def run(
    name: str, case: Case, folder: Path, repeats: int, sample: int, n_pairs: int
) -> dict[str, Any]:
    """What one contestant does in one case: a report that JSON can hold."""
    torch: Any = import_module("torch")
    try:
        contestant = CONTESTANTS[name](folder, case.shape)
    except (ModuleNotFoundError, AbsentError) as error:
        return {"absent": str(error)}
    at_start = peak_memory()
    with torch.no_grad():
        found = measure(contestant, case, repeats, sample, case.pairs(n_pairs))
        memory = {"at_start": at_start, "peak": peak_memory()}
        if isinstance(contestant, Patchwright):
            found["resident"] = contestant.resident
            found["products"] = products(contestant, case)
    libraries = {lib: version(lib) for lib in ("torch", "transformers", contestant.library)}
    return {**found, "memory": memory, "libraries": libraries}


def main() -> None:
    """Save a model, run one contestant in one case, or measure the peaks; and write a report."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("name", choices=[*CONTESTANTS, "peaks", "save"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--case", type=Case.from_json, help="as JSON")
    parser.add_argument("--folder", type=Path, help="of the model")
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch: Any = import_module("torch")
    torch.set_num_threads(options.threads)
    report: dict[str, Any] = {}
    if options.name == "peaks":
        report = peaks()
    elif options.name == "save":
        save(random_model(options.case.shape), options.folder)
    else:
        counts = options.repeats, options.sample, options.pairs
        report = run(options.name, options.case, options.folder, *counts)
    options.out.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
