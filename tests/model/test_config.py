"""What a config.json says is read under all its spellings, bounded, and nothing else of it counts."""

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, GPT2Config, PreTrainedConfig

import patchwright as pw
from checkpoints import save_tiny
from patchwright.errors import CheckpointError, UnknownFamilyError
from patchwright.model import config as config_module
from patchwright.model.config import MAX_SIZES, ModelConfig, read_config
from patchwright.model.families import FAMILIES

CLASSES: list[Any] = [
    GPT2Config,
    transformers.LlamaConfig,
    transformers.Qwen2Config,
    transformers.Gemma2Config,
    transformers.MixtralConfig,
    transformers.GPTNeoXConfig,
    transformers.BloomConfig,
    transformers.GPTJConfig,
]
"""The checks ask a configuration class what it declares, so they are tried on several."""

PLAIN: dict[str, Any] = {
    "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_layer": 3, "n_head": 4,
    "n_embd": 16, "n_positions": 24, "vocab_size": 50, "bos_token_id": 49, "eos_token_id": 49,
}  # fmt: skip


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], ModelConfig]:
    """Reads a document as a config.json."""
    path = tmp_path_factory.mktemp("config") / "config.json"

    def from_file(document: dict[str, Any]) -> ModelConfig:
        path.write_text(json.dumps(document), encoding="utf-8")
        return read_config(path, "tiny")

    return from_file


def settings(document: dict[str, Any], config_class: Any) -> dict[str, Any]:
    return config_module._settings(document, config_class, "tiny", "config.json")  # pyright: ignore


def spellings(config_class: Any) -> dict[str, str]:
    return dict(config_module._spellings(config_class))  # pyright: ignore


def sizes(config_class: Any) -> dict[str, int]:
    """Each spelling of a size, with the largest that it may be."""
    own = {config_class.attribute_map.get(size, size): most for size, most in MAX_SIZES.items()}
    return {key: own[field] for key, field in spellings(config_class).items() if field in own}


UNDERSTOOD = sorted(
    {field.name for field in fields(PreTrainedConfig)}
    | {name for name in dir(PreTrainedConfig) if not name.startswith("__")}
    | set(GenerationConfig._get_default_generation_params())  # pyright: ignore
    | {
        "torch_dtype", "num_labels", "attn_implementation", "_attn_implementation",
        "_attn_implementation_internal", "experts_implementation", "fusion_config",
        "_experts_implementation_internal", "auto_map", "custom_pipelines", "trust_remote_code",
        "_name_or_path", "_commit_hash", "distributed_config", "device_map", "tp_plan", "tp_size",
        "transformers_weights", "configuration_files", "gguf_file", "text_config", "decoder",
        "generator", "_heterogeneity_spec", "code_revision", "use_kernels", "kernel_config",
        "adapter_kwargs", "key_mapping", "state_dict", "config", "self", "kwargs", "cls",
        "rope_theta", "rope_scaling", "rope_parameters", "sliding_window", "layer_types",
        "use_flash_attn", "pruned_heads", "tokenizer_file", "__class__", "__dict__", "__init__",
    }
)  # fmt: skip
"""Keys that Transformers understands in a config.json of any class, or could be led astray by."""

READ = set(spellings(GPT2Config)) | {"architectures", "model_type"}
REFUSED = {"quantization_config", "per_layer_config", "is_causal"}

KEYS = st.sampled_from([key for key in UNDERSTOOD if key not in READ | REFUSED]) | st.text(
    max_size=12
).filter(lambda key: key not in READ | REFUSED)
VALUES = st.recursive(
    st.sampled_from(
        ["evil/kernel", "flash_attention_2", "float99", "os.system", "../x", "auto", 10**9, 10**30, -1]
    )
    | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(extra=st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_no_other_key_has_an_effect(
    read: Callable[[dict[str, Any]], ModelConfig], extra: dict[str, Any]
) -> None:
    with_it, without = read(PLAIN | extra), read(PLAIN)
    assert with_it == without
    assert vars(with_it.settings) == vars(without.settings)
    assert with_it.settings._attn_implementation == "eager"  # pyright: ignore


@pytest.mark.parametrize("key", [key for key in UNDERSTOOD if key not in READ | REFUSED])
def test_each_key_that_transformers_understands_has_no_effect(
    read: Callable[[dict[str, Any]], ModelConfig], key: str
) -> None:
    plain = vars(read(PLAIN).settings)
    for value in (10**9, "evil/kernel", {"0": {"n_embd": 10**9}}, ["evil"], False):
        assert vars(read(PLAIN | {key: value}).settings) == plain


@given(
    config_class=st.sampled_from(CLASSES),
    data=st.data(),
    wrong=st.sampled_from([0, -1, 1.5, True, "3", [3], float("inf"), float("nan")])
    | st.integers(min_value=10**8 + 1),
)
def test_a_size_that_no_model_has_is_refused_under_every_spelling_before_anything_is_built(
    config_class: Any, data: st.DataObject, wrong: Any
) -> None:
    key = data.draw(st.sampled_from(sorted(sizes(config_class))))
    with pytest.raises(CheckpointError, match=rf"the {key} in its config.json is .* from 1 to"):
        settings({key: wrong}, config_class)


@given(config_class=st.sampled_from(CLASSES), data=st.data())
def test_a_size_is_accepted_up_to_its_bound(config_class: Any, data: st.DataObject) -> None:
    key, most = data.draw(st.sampled_from(sorted(sizes(config_class).items())))
    assert settings({key: most}, config_class) == {spellings(config_class)[key]: most}
    with pytest.raises(CheckpointError):
        settings({key: most + 1}, config_class)


@pytest.mark.parametrize("config_class", CLASSES)
def test_every_number_that_a_class_declares_is_bounded(
    config_class: Any,
) -> None:
    for key in spellings(config_class):
        for wrong in (10**12, -(10**12), float("nan"), float("-inf")):
            with pytest.raises(CheckpointError, match=key):
                settings({key: wrong}, config_class)


@given(config_class=st.sampled_from(CLASSES), data=st.data())
def test_what_is_read_is_what_transformers_reads(config_class: Any, data: st.DataObject) -> None:
    # Widths that the heads divide, whichever of them is the class's own.
    numbers = {"n_layer": 2, "num_hidden_layers": 2, "n_embd": 64, "hidden_size": 64}
    keys = data.draw(st.lists(st.sampled_from(sorted(sizes(config_class))), unique=True))
    document = {key: numbers.get(key, 8) for key in keys}
    ours = config_class(**settings(document, config_class))
    assert ours.to_dict() == config_class(**document).to_dict()


def test_two_spellings_that_differ_are_refused_and_that_agree_are_read(
    read: Callable[[dict[str, Any]], ModelConfig],
) -> None:
    with pytest.raises(
        CheckpointError, match=r"gives n_layer twice, as '3' and as '5' \(num_hidden_la"
    ):
        read(PLAIN | {"num_hidden_layers": 5})
    assert read(PLAIN | {"num_hidden_layers": 3, "hidden_size": 16}) == read(PLAIN)


def test_rotary_settings_are_read_in_their_older_spelling() -> None:
    document: dict[str, Any] = {
        "rope_theta": 5e5,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    }
    read = transformers.LlamaConfig(**settings(document, transformers.LlamaConfig))
    assert read.rope_parameters == transformers.LlamaConfig(**document).rope_parameters
    assert settings(document, GPT2Config) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantization_config", {"quant_method": "gptq", "bits": 4}),
        ("quantization_config", "evil"),
        ("per_layer_config", {"1": {"n_inner": 8}}),
        ("is_causal", False),
    ],
)
def test_what_would_make_another_network_is_refused(
    read: Callable[[dict[str, Any]], ModelConfig], field: str, value: Any
) -> None:
    with pytest.raises(CheckpointError, match=f"the {field} in its config.json is"):
        read(PLAIN | {field: value})
    assert read(PLAIN | {field: None}) == read(PLAIN)


@pytest.mark.parametrize(
    "types",
    [
        "global",
        7,
        [],
        [["global", 3]],
        [[["global"], 10**9]],
        [[["global"] * 100, 11]],
        [[["global"], -3], [["local"], 6]],
        [[["global"], 3, 4]],
        [[["global"], "3"]],
    ],
)
def test_lists_of_layers_that_no_model_has_are_refused_before_they_are_built(
    read: Callable[[dict[str, Any]], ModelConfig], types: Any
) -> None:
    document = {"architectures": ["GPTNeoForCausalLM"], "num_layers": 3, "attention_types": types}
    with pytest.raises(CheckpointError, match=r"the attention_types in its config\.json are"):
        read(document)


HARMLESS = {
    "_heterogeneity_spec", "quantization_config", "is_causal",  # other values are refused
    "output_cross_attentions", "gradient_checkpointing", "initializer_range",  # for calls, training
    "text_config", "decoder", "generator", "kv_sharing_modes",  # looked for in nested configs, and
    "sliding_window", "attention_chunk_size", "layer_types",  # to choose a cache, for generation
    "vision_aspect_ratio", "vision_feature_layer", "vision_feature_select_strategy",
}  # fmt: skip
"""Settings that classes read without declaring them, and that do not change their numbers."""


@pytest.mark.parametrize("architecture", FAMILIES)
def test_no_setting_that_changes_a_familys_numbers_is_dropped(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_class = getattr(transformers, architecture)
    small: dict[str, Any] = {
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "num_attention_heads": 4,
        "vocab_size": 40,
    }
    tokens = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    if "num_key_value_heads" in spellings(model_class.config_class):
        small["num_key_value_heads"] = 2
    if "attention_types" in spellings(model_class.config_class):
        small["attention_types"] = [[["global", "local"], 1]]
    if "rotary_dim" in spellings(model_class.config_class):
        small["rotary_dim"] = 4
    config = model_class.config_class(**small, **tokens)
    assert not config.sub_configs, "the settings of a config within a config are not checked"
    asked: set[str] = set()
    original = PreTrainedConfig.__getattribute__

    def recorded(self: PreTrainedConfig, key: str) -> Any:
        try:
            return original(self, key)
        except AttributeError:
            asked.add(key)
            raise

    monkeypatch.setattr(PreTrainedConfig, "__getattribute__", recorded)
    model_class(config)(torch.tensor([[1, 2, 3]]))
    assert asked <= HARMLESS | set(spellings(model_class.config_class))


@pytest.mark.parametrize("architecture", FAMILIES)
def test_no_older_spelling_that_a_class_reads_is_dropped(architecture: str) -> None:
    """Such as Pythia's rotary_pct, and Gemma 3's rope_local_base_freq."""
    config_class = getattr(transformers, architecture).config_class
    source = Path(inspect.getfile(config_class)).read_text(encoding="utf-8")
    read = set(re.findall(r'kwargs\.(?:pop|get|setdefault)\(\s*"(\w+)"', source))
    assert read <= set(spellings(config_class))


def test_a_pythia_as_it_is_published_rotates_what_its_config_says(
    read: Callable[[dict[str, Any]], ModelConfig],
) -> None:
    document = {"architectures": ["GPTNeoXForCausalLM"], "rotary_pct": 0.5, "rotary_emb_base": 50}
    rotary = read(document).settings.rope_parameters
    assert (rotary["partial_rotary_factor"], rotary["rope_theta"]) == (0.5, 50)


def test_a_gemma_3_as_it_is_published_has_two_bases_and_a_pattern_of_layers(
    read: Callable[[dict[str, Any]], ModelConfig],
) -> None:
    document = {
        "architectures": ["Gemma3ForCausalLM"],
        "num_hidden_layers": 4,
        "rope_theta": 500.0,
        "rope_local_base_freq": 50.0,
        "sliding_window_pattern": 2,
    }
    settings = read(document).settings
    assert settings.rope_parameters["full_attention"]["rope_theta"] == 500
    assert settings.rope_parameters["sliding_attention"]["rope_theta"] == 50
    assert settings.layer_types == ["sliding_attention", "full_attention"] * 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


def change(folder: Path, **changes: Any) -> Path:
    """Change the config.json of a folder; None removes a key."""
    path = folder / "config.json"
    document = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in document.items() if value is not None or key == "n_inner"}
    path.write_text(json.dumps(kept), encoding="utf-8")
    return folder


def rename(folder: Path, change: Callable[[str], str]) -> Path:
    """Rename the tensors of a folder."""
    path = folder / "model.safetensors"
    tensors = {change(name): tensor for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def test_layers_without_end_beside_gpt2s_own_keys_are_refused(folder: Path) -> None:
    change(folder, num_hidden_layers=1_000_000)
    with pytest.raises(CheckpointError, match=r"the num_hidden_layers .* is '1000000'"):
        pw.load_model(str(folder))


def test_a_loaded_model_takes_nothing_else_from_its_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pw.load_model(str(folder)).fingerprint
    monkeypatch.setattr(
        "transformers.integrations.hub_kernels.get_kernel", lambda *_, **__: pytest.fail("a kernel")
    )
    change(
        folder, attn_implementation="evil/kernel", experts_implementation="evil/kernel",
        torch_dtype="float99", dtype="float99", num_labels=10**9, transformers_weights="evil.bin",
        fusion_config={"patch_embeddings": True}, auto_map={"AutoModelForCausalLM": "evil.Evil"},
        trust_remote_code=True, configuration_files=["config.9.0.0.json"],
    )  # fmt: skip
    for file in ("adapter_config.json", "generation_config.json", "config.9.0.0.json"):
        (folder / file).write_text(json.dumps({"base_model_name_or_path": "evil/model"}))
    assert pw.load_model(str(folder)).fingerprint == before
    assert pw.load_model(str(folder), device_map=["cpu"]).fingerprint == before


@pytest.mark.parametrize("named", ["bfloat16", "float16", None])
def test_layers_spread_over_devices_are_not_rounded_to_another_precision_on_the_way(
    folder: Path, named: str | None
) -> None:
    before = pw.load_model(str(folder)).fingerprint
    change(folder, dtype=named, torch_dtype=named)
    assert pw.load_model(str(folder), device_map=["cpu"]).fingerprint == before
    path = folder / "model.safetensors"
    halves = {
        name: tensor.bfloat16() if "h.0" in name else tensor
        for name, tensor in load_file(path).items()
    }
    save_file(halves, path, metadata={"format": "pt"})
    mixed = pw.load_model(str(folder)).fingerprint
    assert pw.load_model(str(folder), device_map=["cpu"]).fingerprint == mixed != before


@pytest.mark.parametrize("architectures", [None, [], ["GPT2Model"]])
def test_without_a_name_or_with_the_bodys_the_unembedding_is_the_tied_one(
    folder: Path, architectures: list[str] | None
) -> None:
    before = pw.load_model(str(folder))
    change(folder, architectures=architectures)
    rename(folder, lambda name: name.removeprefix("transformer."))
    assert pw.load_model(str(folder)).fingerprint == before.fingerprint


def test_a_body_without_a_tied_unembedding_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = change(save_tiny(tmp_path, tie_word_embeddings=False), architectures=["GPT2Model"])
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["lm_head.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks lm_head.weight.* save the whole GPT2LMHeadM"):
        pw.load_model(str(folder))


def test_a_config_that_says_nothing_of_its_class_is_refused_with_what_to_add(folder: Path) -> None:
    change(folder, architectures=None, model_type=None)
    with pytest.raises(CheckpointError, match=r'add its class, such as "architectures": \["'):
        pw.load_model(str(folder))


def test_an_architecture_of_another_model_type_is_refused(folder: Path) -> None:
    change(folder, model_type="llama")
    with pytest.raises(CheckpointError, match=r"model_type 'llama'; that of .* is 'gpt2'"):
        pw.load_model(str(folder))


@pytest.mark.parametrize("named", [["GPT2ForSequenceClassification"], ["BloomModel"], "GPT2Model"])
def test_another_class_of_the_family_is_refused(folder: Path, named: object) -> None:
    change(folder, architectures=named)
    with pytest.raises(UnknownFamilyError, match="The architectures that can be read are"):
        pw.load_model(str(folder))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: f"_orig_mod.module.{name}",
        lambda name: f"module.{name.removeprefix('transformer.')}",
        lambda name: name.replace("transformer.h.", "transformer._orig_mod.h."),
        lambda name: name.replace(".attn.", "._fsdp_wrapped_module.attn."),
        lambda name: name.replace(".mlp.", ".mlp._checkpoint_wrapped_module."),
    ],
)
@pytest.mark.parametrize("tied", [True, False])
def test_names_that_pytorch_wrapped_are_read(
    tmp_path: Path, wrap: Callable[[str], str], tied: bool
) -> None:
    folder = save_tiny(tmp_path, tie_word_embeddings=tied)
    before = pw.load_model(str(folder))
    rename(folder, wrap)
    assert pw.load_model(str(folder)).fingerprint == before.fingerprint
    assert pw.load_model(str(folder), device_map=["cpu"]).fingerprint == before.fingerprint


@pytest.mark.parametrize("key", ["n_layer", "architectures", "model_type", "is_causal"])
def test_what_a_file_says_reaches_no_terminal_as_it_is(folder: Path, key: str) -> None:
    evil = "\x1b[2J\u202e" + "x" * 5000
    change(folder, **{key: [evil] if key == "architectures" else evil})
    with pytest.raises(CheckpointError) as caught:
        pw.load_model(str(folder))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_tensor_with_a_name_that_acts_on_a_terminal_is_named_safely(folder: Path) -> None:
    rename(folder, lambda name: name.replace("h.1.mlp", "\x1b[2J" + "x" * 5000))
    with pytest.raises(CheckpointError) as caught:
        pw.load_model(str(folder))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_tensor_that_is_there_twice_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    twice = {f"module.{name}": tensor + 1 for name, tensor in tensors.items() if "wte" in name}
    save_file(tensors | twice, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"have 'transformer.wte.weight' twice"):
        pw.load_model(str(folder))
