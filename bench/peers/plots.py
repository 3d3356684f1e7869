# SPDX-License-Identifier: MIT
"""A plot for each group of cases, as SVG and PNG: a panel for each case, a bar for each peer, the best on top."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from cases import Case, Group  # noqa: E402
from report import OURS, WAKES, Results, number  # noqa: E402

ACCENT, VARIANT, GREY, FAINT, INK = "#c8321e", "#e3a398", "#9aa0a6", "#d8dade", "#222222"
BAR = 0.21  # inches for each
LOG = 30  # greatest over least from which the axis is logarithmic


def colour(results: Results, case: Case, name: str) -> str:
    peer = results.peers[name]
    if name == OURS:
        return ACCENT
    if peer.ours:
        return VARIANT
    return GREY if peer.kind_in(case) in WAKES else FAINT


def panel(axes, results: Results, case: Case) -> None:
    cells = results.ranked(case)
    middles = [median(cell.values()) for cell in cells]
    least, most = min(min(cell.values()) for cell in cells), max(max(cell.values()) for cell in cells)
    log = most / least > LOG
    for y, (cell, middle) in enumerate(zip(cells, middles)):
        values = cell.values()
        axes.barh(y, middle, height=0.74, color=colour(results, case, cell.peer), log=log)
        axes.plot([min(values), max(values)], [y, y], color=INK, linewidth=0.9, solid_capstyle="butt")
        axes.annotate(number(middle), (max(values), y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
                      color=INK, fontweight="bold" if cell.peer == OURS else "normal")
    axes.set_yticks(range(len(cells)), [cell.peer for cell in cells], fontsize=8)
    for text in axes.get_yticklabels():
        if text.get_text() == OURS:
            text.set(color=ACCENT, fontweight="bold")
    axes.invert_yaxis()
    axes.set_ylim(len(cells) - 0.4, -0.6)
    # Room for the number of the longest bar.
    axes.set_xlim(*((least / 2, most * (most / least * 2) ** 0.16) if log else (0, most * 1.16)))
    dress(axes, case, log)


def dress(axes, case: Case, log: bool) -> None:
    wish = "more is better" if case.more_is_better else "less is better"
    scale = ", logarithmic" if log else ""
    axes.set_title(f"{case.title[0].upper()}{case.title[1:]}\n{unit(case)}{scale}; {wish}", loc="left", fontsize=9)
    axes.tick_params(axis="x", labelsize=7, colors="#666666")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#eeeeee", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")
    axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def unit(case: Case) -> str:
    return {"M/s": "million a second", "us": "microseconds", "ns": "nanoseconds"}[case.unit]


def draw_group(results: Results, group: Group, place: Path) -> None:
    cases = [case for case in group.cases if results.ranked(case)]
    if not cases:
        return
    across = 1 if len(cases) == 1 else 3 if len(cases) in (3, 5, 6) or len(cases) > 6 else 2
    down = math.ceil(len(cases) / across)
    tallest = [max(len(results.ranked(case)) for case in cases[i * across:(i + 1) * across]) for i in range(down)]
    heights = [BAR * n + 0.75 for n in tallest]
    figure, grid = plt.subplots(down, across, figsize=(max(9, 5 * across), sum(heights) + 0.6), squeeze=False, layout="constrained",
                                gridspec_kw={"height_ratios": heights})
    panels = [axes for line in grid for axes in line]
    for axes, case in zip(panels, cases):
        panel(axes, results, case)
    for axes in panels[len(cases):]:
        axes.remove()
    figure.suptitle(f"{group.title}: median, and a line from the least to the greatest of {results.rounds} rounds\n"
                    "red: uvch (pale: its variants); pale grey: cannot wake anybody, or tasks of a scheduler of its own",
                    fontsize=10, x=0.01, ha="left")
    for kind, more in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 110})):
        figure.savefig(place / f"{group.id}.{kind}", **more)
    plt.close(figure)


def draw(results: Results, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "uvch", "font.family": "DejaVu Sans"})
    for group in results.groups():
        draw_group(results, group, place)
