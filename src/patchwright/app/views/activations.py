"""activations"""


def show() -> None:
    """x"""
