"""The results as a picture; needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from report import Result, Section


def draw(path: Path, results: Sequence[Result], sections: Sequence[Section]) -> None:
    """Ratios as bars with their targets, and a panel for every section with points."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    bars = [(result, ratio) for result in results if (ratio := result.ratio())]
    panels = [section for section in sections if section.points]
    if not bars and not panels:
        return
    figure, axes = plt.subplots(
        1,
        bool(bars) + len(panels),
        figsize=(5.5 * (bool(bars) + len(panels)), 5.5),
        squeeze=False,
        layout="constrained",
    )
    left = iter(axes[0])
    if bars:
        axis = next(left)
        places = range(len(bars), 0, -1)
        axis.barh(places, [ratio for _, ratio in bars], color="tab:blue", label="times as fast as the peer")
        targets = [(place, r.row.target) for place, (r, _) in zip(places, bars, strict=True) if r.row.target]
        axis.plot([t for _, t in targets], [p for p, _ in targets], "|", color="black", ms=12, mew=2, label="target")
        axis.set_yticks(places, [result.row.title for result, _ in bars])
        axis.set_xscale("log")
        axis.axvline(1, color="grey", lw=0.8)
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    for section in panels:
        axis = next(left)
        for line, points in section.points.items():
            axis.plot(*zip(*points, strict=True), "o-", ms=4, label=line)
        axis.set(xlabel=section.axes[0], ylabel=section.axes[1], title=section.title)
        if section.logarithmic:
            axis.set(xscale="log", yscale="log")
        axis.legend()
    figure.savefig(path, metadata={"Date": None})
