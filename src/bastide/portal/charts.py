"""Charts as shapes: where each bar begins and how long it is. The templates write them as SVG, and beside it as a table. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: In units of the drawing: a chart is as wide as its column, whatever that is.
WIDTH = 440
_ROW, _BAR = 42, 14
#: In a row the name stands above the bar, and the number right of it.
_NAME_AT, _BAR_AT, _NUMBERS = 14, 21, 44
#: More of a name does not fit; the table has all of it.
_NAME_LIMIT = 40
_HEIGHT, _FOOT, _HEAD = 190, 26, 24
_GAP = 0.25
#: More bars than that are no picture: the rest is one bar.
MOST_BARS = 12
OTHERS = "all others"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar. `name` is all of what it is called, `label` what fits."""

    name: str
    label: str
    count: int
    x: float
    y: float
    width: float
    height: float
    #: Where label and number stand.
    label_x: float
    label_y: float
    count_x: float
    count_y: float
    #: Beside 24 bars not every label fits, nor every number.
    labelled: bool = True
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """`kind`: `rows` (bars from left to right) or `columns` (from the ground up). `about` says in words what is to be seen."""

    id: str
    title: str
    about: str
    first: str
    second: str
    kind: str
    width: int
    height: int
    bars: tuple[Bar, ...]
    total: int


def rows(id_: str, title: str, what: str, first: str, counts: Mapping[str, int]) -> Chart:
    """Bars for names, the longest first; of many the rest is one bar. `what` is counted, in the plural."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    if len(ordered) > MOST_BARS:
        rest = sum(count for _, count in ordered[MOST_BARS - 1 :])
        ordered = [*ordered[: MOST_BARS - 1], (OTHERS, rest)]
    longest = max((count for _, count in ordered), default=0)
    space = WIDTH - _NUMBERS
    bars = tuple(
        _row(number, name, count, space * count / longest if longest else 0)
        for number, (name, count) in enumerate(ordered)
    )
    total = sum(count for _, count in ordered)
    return Chart(
        id_,
        title,
        _about(bars, what, total),
        first,
        what.capitalize(),
        "rows",
        WIDTH,
        _ROW * len(bars),
        bars,
        total,
    )


def columns(
    id_: str, title: str, what: str, first: str, counts: Sequence[tuple[str, str, int]], every: int = 1
) -> Chart:
    """Bars in the order given: name, label, count. `every`: only each such bar shows its label, and only the highest its number."""
    highest = max((count for *_, count in counts), default=0)
    step = WIDTH / max(len(counts), 1)
    room = _HEIGHT - _FOOT - _HEAD
    bars = []
    for number, (name, label, count) in enumerate(counts):
        height = room * count / highest if highest else 0
        middle, top = step * (number + 0.5), _HEAD + room - height
        bars.append(
            Bar(
                name=name,
                label=label,
                count=count,
                x=_round(step * (number + _GAP / 2)),
                y=_round(top),
                width=_round(step * (1 - _GAP)),
                height=_round(height),
                label_x=_round(middle),
                label_y=_HEIGHT - 8,
                count_x=_round(middle),
                count_y=_round(top - 6),
                labelled=number % every == 0,
                counted=every == 1 or count == highest,
            )
        )
    total = sum(count for *_, count in counts)
    about = _about(bars, what, total)
    return Chart(id_, title, about, first, what.capitalize(), "columns", WIDTH, _HEIGHT, tuple(bars), total)


def summed(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The counts of a name together."""
    found: Counter[str] = Counter()
    for name, count in pairs:
        found[name] += count
    return dict(found)


def _row(number: int, name: str, count: int, width: float) -> Bar:
    top = _ROW * number
    return Bar(
        name=name,
        label=name if len(name) <= _NAME_LIMIT else f"{name[: _NAME_LIMIT - 1]}\u2026",
        count=count,
        x=0,
        y=top + _BAR_AT,
        width=_round(width),
        height=_BAR,
        label_x=0,
        label_y=top + _NAME_AT,
        count_x=_round(width + 8),
        count_y=top + _BAR_AT + _BAR - 2,
    )


def _about(bars: Sequence[Bar], what: str, total: int) -> str:
    """For who does not see it."""
    if not total:
        return f"There are no {what}."
    most = max(bars, key=lambda bar: bar.count)
    return f"{total} {what} in all; most for {most.name}: {most.count}."


def _round(number: float) -> float:
    return round(number, 1)
