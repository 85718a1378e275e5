"""Results as tables for other programs."""

from patchwright.methods.result import Result


def csv_text(result: Result) -> str:
    """`Result.table` as CSV with a header; numbers in full precision."""
    return result.table().to_csv(index=False, lineterminator="\n")
