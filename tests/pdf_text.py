"""What is written in a PDF of Matplotlib's: sizes of type and kinds of font, read from its bytes."""

import re
import zlib

_OPERATOR = re.compile(
    rb"(?P<push>\bq\b)|(?P<pop>\bQ\b)"
    rb"|(?P<matrix>(?:[-\d.]+\s+){6})(?:cm|Tm)\b"
    rb"|/\w+\s+(?P<size>[\d.]+)\s+Tf\b|(?P<shown>\bT[jJ]\b)"
)


def sizes_of(pdf: bytes) -> list[float]:
    """The size in points of each run of text, as it is on the page."""
    found: list[float] = []
    for content in streams(pdf):
        scale, size, kept = 1.0, 0.0, list[float]()
        for one in _OPERATOR.finditer(content):
            if one["push"]:
                kept.append(scale)
            elif one["pop"]:
                scale = kept.pop()
            elif one["matrix"]:
                a, b, c, d, *_ = map(float, one["matrix"].split())
                scale *= abs(a * d - b * c) ** 0.5
            elif one["size"]:
                size = float(one["size"])
            else:
                found.append(size * scale)
    return found


def streams(pdf: bytes) -> list[bytes]:
    """The content streams that have text or drawing, unpacked."""
    packed = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    texts: list[bytes] = []
    for one in packed:
        try:
            texts.append(zlib.decompress(one))
        except zlib.error:
            continue
    return [one for one in texts if b"BT\n" in one]


def fonts_of(pdf: bytes) -> set[str]:
    """The subtypes of all fonts, such as Type3, Type0 and CIDFontType2."""
    found = re.findall(rb"/Type /Font\b.*?>>", pdf, re.DOTALL)
    kinds = re.findall(rb"/Subtype /(\w+)", b" ".join(found))
    return {kind.decode() for kind in kinds}
