"""trace"""


def show() -> None:
    """x"""
