"""lens"""


def show() -> None:
    """x"""
