"""A config.json, reduced to what describes the network and checked before anything is built.

Of the file only those fields are read that the configuration class of its architecture
declares, under every spelling that Transformers takes for them. Kernels, precision and
code are chosen by Patchwright, so whatever the file says of them has no effect; what
would make it another network than its fields describe is refused.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from patchwright.errors import CheckpointError, printable_text, quoted, reason
from patchwright.model.families import FAMILIES, unknown_family_error

MAX_SIZES = {
    "num_hidden_layers": 1000,
    "num_attention_heads": 10_000,
    "hidden_size": 10**6,
    "intermediate_size": 10**7,
    "n_inner": 10**7,
    "max_position_embeddings": 10**7,
    "vocab_size": 10**8,
}
"""Sizes that could be a model's, many times those of the largest there is, by the names that
Transformers has for all families; `n_inner` is GPT-2's own."""

CONFIG = "config.json"

_MOST_COUNTED, _MOST_ELSE = 10_000, 10**8
"""Bounds for the other whole numbers: those that count parts (`num_…`), and the rest."""

_ROTARY = (
    "rope_scaling",
    "rope_theta",
    "partial_rotary_factor",
    "rotary_emb_base",
    "rotary_pct",
    "rope_local_base_freq",
)
"""Older spellings of what `rope_parameters` holds; Transformers reads them where a class has it."""

_UNDECLARED_FIELDS = ("head_dim", "tokenizer_class", "sliding_window_pattern")
"""Fields that Transformers looks up in a config whether or not its class declares them."""

_ORDINARY: dict[str, tuple[tuple[object, ...], str]] = {
    "quantization_config": ((None, {}), "give the checkpoint whose weights are not quantised"),
    "per_layer_config": ((None, {}), "only layers that are alike can be read"),
    "is_causal": ((None, True), "only models whose tokens see those before them can be read"),
}
"""Fields that make another network out of any class: their ordinary values, and what to do else."""


@dataclass(frozen=True)
class ModelConfig:
    """What a config.json, or a GGUF file's metadata, describes: a class and its settings."""

    architecture: str
    settings: PreTrainedConfig
    written_in: str = CONFIG

    @property
    def model_class(self) -> type[PreTrainedModel]:
        """The class in Transformers."""
        return getattr(transformers, self.architecture)


def read_config(path: Path, name: str) -> ModelConfig:
    """Read the config.json of the model called `name`.

    Raises CheckpointError or UnknownFamilyError for one that cannot be read, before anything
    that it describes is built.
    """
    if not path.is_file():
        raise CheckpointError(
            f"'{name}' has no config.json: give a folder that `model.save_pretrained` wrote."
        )
    return parse_config(read_json(path, name), name)


def parse_config(document: Mapping[str, Any], name: str, written_in: str = CONFIG) -> ModelConfig:
    """What `document` describes, by the keys of a config.json. Raises what `read_config` does."""
    architecture = _architecture(document, name, written_in)
    config_class = _model_classes()[architecture].config_class
    try:
        settings = config_class(
            **_settings(document, config_class, name, written_in), attn_implementation="eager"
        )
    except CheckpointError:
        raise
    except Exception as error:
        raise config_error(name, error, written_in) from error
    return ModelConfig(architecture, settings, written_in)


def config_error(name: str, error: Exception, written_in: str) -> CheckpointError:
    """The refusal of a config that Transformers cannot build."""
    return CheckpointError(f"'{name}': its {written_in} describes no model ({reason(error)}).")


def read_json(path: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of the model called `name`. Raises CheckpointError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"'{name}': {path.name} cannot be read as JSON ({reason(error)})."
        ) from error
    if not isinstance(document, dict):
        raise CheckpointError(f"'{name}': {path.name} is not a JSON object.")
    return {str(key): value for key, value in document.items()}


def _model_classes() -> dict[str, Any]:
    """The architectures that can be read and that Transformers has, with their classes."""
    return {one: getattr(transformers, one) for one in FAMILIES if hasattr(transformers, one)}


def _architecture(document: Mapping[str, Any], name: str, written_in: str) -> str:
    """The architecture to read a model as.

    A config that names none, or names the family's body without its unembedding
    (`GPT2Model`), is read as the family's language model; whether the unembedding is
    there, or tied to the embedding, the check of the tensors shows.
    """
    listed, model_type = document.get("architectures"), document.get("model_type")
    if listed and not isinstance(listed, list):
        raise unknown_family_error(name, printable_text(str(listed)[:100]))
    named = listed[0] if listed else None
    for architecture, known in _model_classes().items():
        family = known.config_class.model_type
        names = (architecture, MODEL_MAPPING_NAMES.get(family))
        if (model_type == family) if named is None else (named in names):
            if model_type not in (None, family):
                raise CheckpointError(
                    f"'{name}': its {written_in} names the architecture {named} and the model_type "
                    f"{quoted(str(model_type))}; that of {named} is '{family}'. Correct one of them."
                )
            return architecture
    if named is None and model_type is None:
        raise CheckpointError(
            f"'{name}': its {written_in} does not say what it describes: add its class, such as "
            f'"architectures": ["{next(iter(FAMILIES))}"].'
        )
    raise unknown_family_error(name, printable_text(str(named or model_type)[:100]))


def _settings(
    document: Mapping[str, Any], config_class: type[PreTrainedConfig], name: str, written_in: str
) -> dict[str, Any]:
    """The fields of `config_class` that the file gives, by their own names."""
    for field, (ordinary, instead) in _ORDINARY.items():
        if document.get(field) not in ordinary:
            raise CheckpointError(
                f"'{name}': the {field} in its {written_in} is {quoted(str(document[field]))}; {instead}."
            )
    found: dict[str, Any] = {}
    for key, field in _spellings(config_class):
        if key not in document:
            continue
        value = document[key]
        _check_number(key, field, value, config_class, name, written_in)
        if field in found and found[field] != value:
            raise CheckpointError(
                f"'{name}': its {written_in} gives {field} twice, as {quoted(str(found[field]))} and "
                f"as {quoted(str(value))} ({key}). Remove the wrong one."
            )
        found[field] = value
    _check_attention_types(found.get("attention_types"), name, written_in)
    return found


def _check_attention_types(types: object, name: str, written_in: str) -> None:
    """Refuse lists of GPT-Neo's layers, [[types, how often], …], that no model is as long as."""
    count = 0
    for item in types if isinstance(types, list) else []:
        match item:
            case [list() as some, int() as times] if times > 0:
                count += len(some) * times
            case _:
                count = -1
                break
    if types is not None and not (
        isinstance(types, list) and 0 < count <= MAX_SIZES["num_hidden_layers"]
    ):
        raise CheckpointError(
            f"'{name}': the attention_types in its {written_in} are {quoted(str(types))}; they must be "
            f"lists of a layer's types and how often they follow one another, for 1 to "
            f"{MAX_SIZES['num_hidden_layers']:,} layers."
        )


def _spellings(config_class: type[PreTrainedConfig]) -> Iterator[tuple[str, str]]:
    """Every key that says something of the network, with the field that it sets."""
    common = {field.name for field in fields(PreTrainedConfig)}
    own = [field.name for field in fields(config_class) if field.name not in common]
    own.extend(field for field in _UNDECLARED_FIELDS if field not in own)
    if "rope_parameters" in own:
        own.extend(_ROTARY)
    yield from ((field, field) for field in own)
    for key, field in config_class.attribute_map.items():
        if field in own:
            yield key, field
        elif key in own:
            yield field, key  # A class may save a field that it declares under another name.


def _check_number(
    key: str,
    field: str,
    value: object,
    config_class: type[PreTrainedConfig],
    name: str,
    written_in: str,
) -> None:
    """Refuse numbers that no model has, before anything of that size is made."""
    sizes = {config_class.attribute_map.get(size, size): most for size, most in MAX_SIZES.items()}
    if field in sizes:
        allowed = value is None or (type(value) is int and 1 <= value <= sizes[field])
        bounds = f"from 1 to {sizes[field]:,}"
    else:
        most = _MOST_COUNTED if field.startswith("num_") else _MOST_ELSE
        # Not a number is not below any bound.
        allowed = not isinstance(value, int | float) or abs(value) <= most
        bounds = f"a number up to {most:,}"
    if not allowed:
        raise CheckpointError(
            f"'{name}': the {key} in its {written_in} is {quoted(str(value))}; it must be {bounds}."
        )
