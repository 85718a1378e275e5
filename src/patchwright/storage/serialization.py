"""A Result as it is kept, and back: JSON, and arrays as one compressed .npz; bit for bit.

Nothing here loads PyTorch until a Result is made again.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from patchwright.errors import StoreError, reason
from patchwright.hashing import hash_of
from patchwright.storage.choices import choices_text
from patchwright.upgrade import upgrade_experiment, upgrade_result
from patchwright.warnings import Notice, is_stopped

if TYPE_CHECKING:
    from patchwright.algorithms.result import Result

MOST_BYTES = 2**30
"""Unpacked arrays of one run, at most: what is larger was not written by Patchwright."""

MOST_SEARCHED = 4000
"""Letters of its prompts by which a run is found."""

READ_ERRORS = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    StopIteration,
    RuntimeError,
    EOFError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a blob that somebody else has made may raise."""


Origin = Literal["imported", "trusted", "computed"]
"""Where a run comes from: an archive, an archive that the user trusts, or this store's user."""


@dataclass(frozen=True)
class Record:
    """A run as it is kept: `document` is JSON, `arrays` an .npz; `created` is in UTC, ISO 8601."""

    document: str
    arrays: bytes
    created: str
    note: str = ""
    origin: Origin = "computed"

    @cached_property
    def content(self) -> dict[str, Any]:
        """The document, read."""
        return json.loads(self.document)

    @cached_property
    def id(self) -> str:
        """A short name for what decides the numbers.

        That is the experiment, the model's weights and tokenizer, the kind of device, and
        the version of the method's numbers.
        """
        return run_id(self.experiment_hash, self.fingerprint, self.device, self.numbers)

    @cached_property
    def experiment_hash(self) -> str:
        """As `Experiment.hash`. Raises ExperimentError where the document holds no experiment."""
        from patchwright.methods import METHODS

        return METHODS.parse(self.content["experiment"]).hash

    @property
    def method(self) -> str:
        """Of its experiment."""
        return self.content["method"]

    @property
    def model(self) -> str:
        """What the model is called."""
        return self.content["model"].get("name", "")

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.content["seconds"]

    @property
    def numbers(self) -> int:
        """The version of the method's numbers that computed it."""
        return upgrade_result(self.content)["numbers"]

    @property
    def fingerprint(self) -> str:
        """Of the model: its weights, their precision, its tokenizer."""
        return self.content["model"].get("fingerprint", "")

    @property
    def device(self) -> str:
        """The kind of device that computed it, such as 'cpu': kinds round differently."""
        return device_kind(self.content["model"].get("device", ""))

    @property
    def version(self) -> str:
        """Of the Patchwright that computed it."""
        return self.content["patchwright"]

    @property
    def whole(self) -> bool:
        """Whether it answers its experiment: it was not stopped before its end."""
        return not is_stopped(self.content["warnings"])

    @property
    def about(self) -> str:
        """What was done on which prompt, in a line."""
        asked = upgrade_experiment(self.content["experiment"], self.method)
        prompts = _prompts(asked)
        what = [
            str(asked[name]) for name in ("site", "per", "direction", "metric") if name in asked
        ]
        more = f" (1 of {len(prompts) // 2} pairs)" if len(prompts) > 2 else ""
        head = ", ".join(filter(None, (" ".join(what), choices_text(asked))))
        return f"{head}: {_prompt_text(next(iter(prompts), ''))}{more}"

    @property
    def search(self) -> str:
        """What a search looks in."""
        names = (self.id, self.method, self.model, self.about)
        prompts = " ".join(map(_prompt_text, _prompts(self.content["experiment"])))
        return f"{' '.join(names)} {prompts[:MOST_SEARCHED]}".casefold()

    @property
    def digest(self) -> str:
        """SHA-256 over document and arrays."""
        return hashlib.sha256(self.document.encode() + b"\n" + self.arrays).hexdigest()


def run_id(experiment_hash: str, fingerprint: str, device: str, numbers: int) -> str:
    """The id of a run: 16 hexadecimal digits. `device` is a kind, such as 'cpu'."""
    return hash_of([experiment_hash, fingerprint, device, numbers])[:16]


def id_of(result: "Result") -> str:
    """The id that the run of a result has, or would have."""
    from patchwright.methods import METHODS

    model = result.model
    of_model = model.get("fingerprint", ""), device_kind(model.get("device", ""))
    return run_id(METHODS.parse(result.experiment).hash, *of_model, result.numbers)


def device_kind(device: str) -> str:
    """'cuda' of 'cuda:1'."""
    return device.split(":")[0]


def record_of(result: "Result", created: str) -> Record:
    """`result` to be kept."""
    document = replace(result, arrays={}).document()
    document["arrays"] = [_array_labels(name, array) for name, array in result.arrays.items()]
    # In the order that it has: JSON that is made of it again is the same, letter by letter.
    text = json.dumps(document, separators=(",", ":"))
    return Record(text, _pack_arrays(result.arrays.values()), created)


def result_in(record: Record) -> "Result":
    """The Result that `record_of` was given. Raises StoreError where it holds none."""
    from patchwright.methods import METHODS

    try:
        described = record.content["arrays"]
        values = iter(_unpack_arrays(record.arrays))
        arrays = {one["key"]: _build_array(one, values) for one in described}
        result = METHODS.read_result({**record.content, "arrays": {}})
        warnings = [*result.warnings, *_origin_notices(record.origin)]
        return replace(result, arrays=arrays, warnings=warnings)
    except READ_ERRORS as error:
        raise StoreError(
            f"Run {record.id} cannot be read: {reason(error)}. Compute it again."
        ) from error


def _origin_notices(origin: Origin) -> list[Notice]:
    """What a run that was not computed here says of itself wherever it is shown."""
    if origin == "computed":
        return []
    trust = "You chose to trust it." if origin == "trusted" else "Compute it again to be sure."
    return [
        Notice(
            code="imported",
            message=f"This run was imported from an archive and not computed here. {trust}",
        )
    ]


def _array_labels(key: str, array: xr.DataArray) -> dict[str, Any]:
    """An array's labels; its values and its coordinates' follow in the .npz, in this order."""
    coords = [[str(name), list(map(str, coord.dims))] for name, coord in array.coords.items()]
    name = None if array.name is None else str(array.name)
    return {"key": key, "name": name, "dims": list(map(str, array.dims)), "coords": coords}


def _build_array(described: dict[str, Any], values: Any) -> xr.DataArray:
    data = next(values)
    coords = {name: (dims, next(values)) for name, dims in described["coords"]}
    return xr.DataArray(data, coords=coords, dims=described["dims"], name=described["name"])


def _pack_arrays(arrays: Iterable[xr.DataArray]) -> bytes:
    parts = [part for one in arrays for part in (one, *one.coords.values())]
    stream = BytesIO()
    np.savez_compressed(stream, *(part.values for part in parts))
    return stream.getvalue()


def _unpack_arrays(packed: bytes) -> list[np.ndarray[Any, Any]]:
    """The arrays in their order. Raises ValueError where they would not fit into memory."""
    with zipfile.ZipFile(BytesIO(packed)) as inside:
        names = [info.filename for info in inside.infolist()]
        size = sum(info.file_size for info in inside.infolist())
    if size > MOST_BYTES:
        raise ValueError(f"its arrays would take {size >> 20} MiB of memory")
    with np.load(BytesIO(packed), allow_pickle=False) as arrays:
        return [arrays[name.removesuffix(".npy")] for name in names]


def _prompts(experiment: dict[str, Any]) -> list[Any]:
    """Clean and corrupted prompt of each pair; of a trace its one prompt."""
    if "prompt" in experiment:
        return [experiment["prompt"]]
    pairs = experiment.get("pairs", [])
    pairs = [pairs] if isinstance(pairs, dict) else pairs
    return [pair[run] for pair in pairs for run in ("clean", "corrupt")]


def _prompt_text(prompt: Any) -> str:
    parts = [prompt] if isinstance(prompt, str) else prompt
    text = " ".join(
        f"{one.get('role')}: {one.get('content')}" if isinstance(one, dict) else str(one)
        for one in parts
    )
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text to SQLite
