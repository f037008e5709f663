# SPDX-License-Identifier: BSD-3-Clause
"""Small charts as SVG, without a dependency: lines over a logarithmic axis, and stacked bars."""
from math import log10

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 60, 150, 40, 50
COLOURS = ("#1b6ca8", "#d1495b", "#3b8b5a", "#c98a1b", "#6a4c93", "#5b6770")


def _text(x, y, text, anchor="middle", size=12, extra=""):
    safe = str(text).replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{extra}>{safe}</text>'


def _nice_top(value):
    """The round number at or above value."""
    scale = 10 ** int(log10(value)) if value >= 1 else 1
    for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10):
        if m * scale >= value:
            return m * scale
    return 10 * scale


def _frame(title, y_label, top):
    plot_h = HEIGHT - TOP - BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" fill="#333">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           _text(LEFT, 22, title, "start", 15, ' font-weight="bold"'),
           _text(16, TOP + plot_h / 2, y_label, extra=f' transform="rotate(-90 16 {TOP + plot_h / 2})"')]
    for i in range(5):
        y = TOP + plot_h * (1 - i / 4)
        out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        out.append(_text(LEFT - 6, y + 4, f"{top * i / 4:g}", "end", 11))
    return out


def _legend(names):
    out = []
    for i, name in enumerate(names):
        y = TOP + 10 + 20 * i
        out.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{y - 9}" width="12" height="12" '
                   f'fill="{COLOURS[i % len(COLOURS)]}"/>')
        out.append(_text(WIDTH - RIGHT + 30, y + 2, name, "start", 12))
    return out


def short(n):
    """1000 → 1 k."""
    for size, unit in ((1_000_000, " M"), (1000, " k")):
        if n >= size:
            return f"{n / size:g}{unit}"
    return f"{n:g}"


def lines(path, title, x_label, y_label, series):
    """series: {name: [(x, y), …]}; x > 0 on a logarithmic axis."""
    xs = sorted({x for points in series.values() for x, _ in points})
    top = _nice_top(max(y for points in series.values() for _, y in points))
    low, span = log10(xs[0]), max(log10(xs[-1]) - log10(xs[0]), 1e-9)

    def at(x, y):
        return (LEFT + 15 + (WIDTH - LEFT - RIGHT - 30) * (log10(x) - low) / span,
                TOP + (HEIGHT - TOP - BOTTOM) * (1 - y / top))

    out = _frame(title, y_label, top) + _legend(series)
    for x in xs:
        out.append(_text(at(x, 0)[0], HEIGHT - BOTTOM + 18, short(x), size=11))
    out.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_label))
    for i, points in enumerate(series.values()):
        colour = COLOURS[i % len(COLOURS)]
        path_d = " ".join(f"{'M' if k == 0 else 'L'}{at(x, y)[0]:.1f} {at(x, y)[1]:.1f}"
                          for k, (x, y) in enumerate(sorted(points)))
        out.append(f'<path d="{path_d}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in points:
            cx, cy = at(x, y)
            out.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="3" fill="{colour}"/>')
            if i == 0:
                out.append(_text(cx, cy - 8, f"{y:.0f}" if y >= 20 else f"{y:.1f}", size=10))
    _write(path, out)


def stacks(path, title, y_label, names, bars):
    """bars: {bar: [value by name]}, stacked in the order of names."""
    top = _nice_top(max(sum(v) for v in bars.values()))
    plot_h = HEIGHT - TOP - BOTTOM
    step = (WIDTH - LEFT - RIGHT) / len(bars)
    out = _frame(title, y_label, top) + _legend(names)
    for b, (bar, values) in enumerate(bars.items()):
        x, y = LEFT + step * (b + 0.2), TOP + plot_h
        for i, v in enumerate(values):
            h = plot_h * v / top
            y -= h
            out.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{step * 0.6:.1f}" height="{h:.1f}" '
                       f'fill="{COLOURS[i % len(COLOURS)]}"/>')
        out.append(_text(x + step * 0.3, y - 5, f"{sum(values):.0f}", size=11))
        out.append(_text(x + step * 0.3, HEIGHT - BOTTOM + 18, bar, size=11))
    _write(path, out)


def _write(path, out):
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out + ["</svg>"]) + "\n")
