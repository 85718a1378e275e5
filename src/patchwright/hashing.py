"""One JSON text for one document, and its hash: what names experiments and runs."""

import hashlib
import json


def canonical_json(document: object) -> str:
    """`document` as JSON with sorted keys and no spaces; NaN is written as NaN."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def hash_of(document: object) -> str:
    """SHA-256 over the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(document).encode("utf-8", "surrogatepass")).hexdigest()
