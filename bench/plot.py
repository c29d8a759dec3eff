"""Curves as SVG: a figure over another one that grows by powers of ten."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from pathlib import Path

Curve = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 240, 40, 60
FONT = 'font-family="sans-serif" font-size="12"'
COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#8e6c8a", "#e09f3e", "#555555", "#2a9d8f", "#9e2a2b")


def draw(path: Path, title: str, axes: tuple[str, str], curves: Mapping[str, Curve]) -> None:
    """Write a chart of *curves* to *path*; *axes* says what is across and what is up."""
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return
    left, right = floor(log10(min(x for x, _ in points))), ceil(log10(max(x for x, _ in points)))
    across = (LEFT, WIDTH - RIGHT, left, max(right, left + 1))
    step = _step(max(y for _, y in points))
    most = step * ceil(max(y for _, y in points) / step)
    up = (HEIGHT - BOTTOM, TOP, 0, most)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, title, size=15),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, axes[0], anchor="middle"),
        f'<g transform="rotate(-90 18 {HEIGHT / 2})">'
        + _text(18, HEIGHT / 2, axes[1], anchor="middle")
        + "</g>",
        *_grid(across, up, step),
        *_curves(across, up, curves),
        "</svg>\n",
    ]
    path.write_text("\n".join(parts), encoding="utf-8")


def _grid(
    across: tuple[float, float, int, int], up: tuple[float, float, float, float], step: float
) -> Iterator[str]:
    for power in range(across[2], across[3] + 1):
        x = _at(across, power)
        yield _line(x, up[0], x, up[1], "#dddddd")
        yield _text(x, up[0] + 18, f"{10**power:,}" if power >= 0 else f"{10**power}", "middle")
    for number in range(round(up[3] / step) + 1):
        y = _at(up, number * step)
        yield _line(across[0], y, across[1], y, "#dddddd")
        yield _text(across[0] - 8, y + 4, f"{number * step:g}", "end")


def _curves(
    across: tuple[float, float, int, int],
    up: tuple[float, float, float, float],
    curves: Mapping[str, Curve],
) -> Iterator[str]:
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(_at(across, log10(x)), _at(up, y)) for x, y in curve]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for x, y in places:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
        y = TOP + 14 + 20 * number
        yield _line(WIDTH - RIGHT + 14, y - 4, WIDTH - RIGHT + 34, y - 4, colour)
        yield _text(WIDTH - RIGHT + 40, y, name)


def _at(axis: tuple[float, float, float, float], value: float) -> float:
    begin, end, least, most = axis
    return begin + (end - begin) * (value - least) / (most - least)


def _step(most: float) -> float:
    """Return a round number of which *most* has about five."""
    power = 10.0 ** floor(log10(most / 5)) if most > 0 else 1.0
    return next(power * times for times in (1, 2, 5, 10) if power * times * 6 >= most)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
        f"{escape(text)}</text>"
    )
