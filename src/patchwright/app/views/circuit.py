"""circuit"""


def show() -> None:
    """x"""
