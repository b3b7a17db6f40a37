"""A number and what it is of, as people say it."""


def counted(number: int, one: str, more: str) -> str:
    """`1 word`, `2 words`, `0 words`."""
    return f"{number} {one if number == 1 else more}"
