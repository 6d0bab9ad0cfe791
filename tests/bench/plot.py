# SPDX-License-Identifier: GPL-2.0-only
"""Draws lines in panels with logarithmic axes as SVG, from numbers; by itself, no library.

The colours follow the reader's scheme (light or dark) by the file's own style sheet; a viewer that
knows no schemes shows the light one. Lines differ by their marks and dashes too.
"""
import html
import math

WIDTH, HEIGHT = 470, 300                # of one panel
LEFT, RIGHT, TOP, BOTTOM = 68, 14, 44, 46
LEGEND = 34
# (light, dark, dashes, mark) of each line in turn
STYLES = (("#8a8f98", "#8b949e", "2 4", "bar"), ("#0b62d6", "#58a6ff", "", "dot"),
          ("#c2410c", "#ff9f5a", "7 3", "square"), ("#8b1fa9", "#d2a8ff", "3 3", "diamond"),
          ("#0f7b3f", "#56d364", "9 3 2 3", "triangle"))
STYLE = """
  .paper { fill: #ffffff } .frame { fill: none; stroke: #d0d7de } .grid { stroke: #e6e9ed }
  text { fill: #1f2328; font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif }
  .title { font-weight: 600; font-size: 13px } .small { fill: #59636e; font-size: 11px }
"""
DARK = """
    .paper { fill: #0d1117 } .frame { stroke: #3d444d } .grid { stroke: #21262d }
    text { fill: #e6edf3 } .small { fill: #9198a1 }
"""


class Panel:
    """`lines`: {name: [(x, y)]}; x 0 stands at the left of 1."""

    def __init__(self, title, x_name, y_name, lines):
        self.title, self.x_name, self.y_name = title, x_name, y_name
        self.lines = {name: sorted(points) for name, points in lines.items() if points}


def _short(n):
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:g}{unit}"
    return f"{n:g}"


def _time(ns):
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= size:
            return f"{ns / size:g} {unit}"
    return f"{ns:g} ns"


def _decades(low, high, steps):
    """Ticks from below `low` to above `high`, at these steps of each decade."""
    ticks = [s * 10.0 ** e for e in range(-1, 13) for s in steps]
    first = max([t for t in ticks if t <= low * 1.0001], default=ticks[0])
    last = min([t for t in ticks if t >= high * 0.9999], default=ticks[-1])
    return [t for t in ticks if first <= t <= last]


def _x(value):
    return math.log10(value) if value else -0.5


def _mark(kind, x, y, css):
    r = 3.6
    if kind == "dot":
        return f'<circle class="{css} m" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    points = {"square": [(-r, -r), (r, -r), (r, r), (-r, r)],
              "diamond": [(0, -r - 1), (r + 1, 0), (0, r + 1), (-r - 1, 0)],
              "triangle": [(0, -r - 1), (r + 1, r), (-r - 1, r)],
              "bar": [(-r, -1), (r, -1), (r, 1), (-r, 1)]}[kind]
    where = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in points)
    return f'<polygon class="{css} m" points="{where}"/>'


def _panel(panel, names, ox, oy):
    xs = sorted({x for points in panel.lines.values() for x, _ in points})
    ys = [y for points in panel.lines.values() for _, y in points]
    spread = max(ys) / min(ys)
    steps = (1, 2, 5) if spread < 60 else (1, 3) if spread < 600 else (1,)
    ticks = _decades(min(ys), max(ys), steps)
    left, right = ox + LEFT, ox + WIDTH - RIGHT
    top, bottom = oy + TOP, oy + HEIGHT - BOTTOM
    x0, x1 = _x(xs[0]), max(_x(xs[-1]), _x(xs[0]) + 1)
    y0, y1 = math.log10(ticks[0]), math.log10(ticks[-1])

    def at(x, y):
        return (left + 10 + (right - left - 20) * (_x(x) - x0) / (x1 - x0),
                bottom - (bottom - top) * (math.log10(y) - y0) / (y1 - y0))

    out = [f'<text class="title" x="{left}" y="{oy + 18}">{html.escape(panel.title)}</text>',
           f'<text class="small" x="{left}" y="{oy + 35}">{html.escape(panel.y_name)}</text>']
    for tick in ticks:
        y = at(xs[0], tick)[1]
        out.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(f'<text class="small" x="{left - 7}" y="{y + 4:.1f}" '
                   f'text-anchor="end">{_time(tick)}</text>')
    for x in xs:
        px = at(x, ticks[0])[0]
        out.append(f'<line class="grid" x1="{px:.1f}" x2="{px:.1f}" y1="{top}" y2="{bottom}"/>')
        out.append(f'<text class="small" x="{px:.1f}" y="{bottom + 16}" '
                   f'text-anchor="middle">{_short(x)}</text>')
    out.append(f'<text class="small" x="{(left + right) / 2}" y="{bottom + 33}" '
               f'text-anchor="middle">{html.escape(panel.x_name)}</text>')
    out.append(f'<rect class="frame" x="{left}" y="{top}" width="{right - left}" '
               f'height="{bottom - top}"/>')
    for i, name in enumerate(names):
        points = [at(x, y) for x, y in panel.lines.get(name, ())]
        if len(points) > 1:
            where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            out.append(f'<polyline class="c{i} l" points="{where}"/>')
        out += [_mark(STYLES[i % len(STYLES)][3], x, y, f"c{i}") for x, y in points]
    return out


def _colours(which):
    return " ".join(f".c{i}.l {{ fill: none; stroke: {s[which]}; stroke-width: 2; "
                    f"stroke-dasharray: {s[2] or 'none'} }} .c{i}.m {{ fill: {s[which]} }}"
                    for i, s in enumerate(STYLES))


def draw(panels, names, note, across=2):
    """`names`: the lines in their order, {key of Panel.lines: what the legend says}."""
    panels = [p for p in panels if p.lines]
    rows = -(-len(panels) // across)
    width, height = WIDTH * across, HEIGHT * rows + LEGEND + 24
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
           f'width="{width}" height="{height}" role="img">',
           f"<title>{html.escape(note)}</title>",
           f"<style>{STYLE}  {_colours(0)}\n  @media (prefers-color-scheme: dark) {{{DARK}"
           f"    {_colours(1)}\n  }}\n</style>",
           f'<rect class="paper" width="{width}" height="{height}"/>']
    x = LEFT
    for i, text in enumerate(names.values()):
        out.append(f'<polyline class="c{i} l" points="{x},20 {x + 30},20"/>')
        out.append(_mark(STYLES[i % len(STYLES)][3], x + 15, 20, f"c{i}"))
        out.append(f'<text x="{x + 37}" y="24">{html.escape(text)}</text>')
        x += 58 + int(6.6 * len(text))
    for i, panel in enumerate(panels):
        out += _panel(panel, list(names), WIDTH * (i % across), LEGEND + HEIGHT * (i // across))
    out.append(f'<text class="small" x="{LEFT}" y="{height - 8}">{html.escape(note)}</text>')
    return "\n".join(out) + "\n</svg>\n"
