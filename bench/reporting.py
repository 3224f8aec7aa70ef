"""Tables on the screen and in files, and their pictures (where matplotlib is installed)."""

import os
import platform
import statistics
import time
from importlib.metadata import PackageNotFoundError, version

from .measuring import ratio

AHEAD, BEHIND = "#2a7f9e", "#c8553d"
MANY = 60  # cases that do not get a bar each


def facts(frameworks, threads):
    """What the figures were measured on."""
    from mlxc.__main__ import processor
    from mlxc._version import __version__

    versions = []
    for name in frameworks:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # mlxc, run from its folder
            versions.append(f"{name} {__version__}")
    return [
        f"date: {time.strftime('%Y-%m-%d')}",
        f"processor: {processor()}, {threads} threads; load {os.getloadavg()[0]:.1f}",
        f"system: {platform.system()} {platform.machine()}, Python {platform.python_version()}",
        f"versions: {', '.join(versions)}",
    ]


def conclusion(summaries):
    """The geometric mean of the ratios, as a sentence."""
    ratios = [ratio(summary) for summary in summaries.values() if ratio(summary)]
    if not ratios:
        return "no peer to compare with"
    ahead = sum(value >= 1 for value in ratios)
    return (
        f"geometric mean of best peer / mlxc: {statistics.geometric_mean(ratios):.3f} over "
        f"{len(ratios)} cases, ahead in {ahead}"
    )


class Table:
    """Printed row by row: a column a name, figures in a unit, and the best peer over mlxc."""

    def __init__(self, columns, unit, scale):
        self.columns, self.scale = columns, scale
        heads = "".join(f"{f'{name} {unit}':>18}" for name in columns)
        print(f"{'case':<44}{heads}{'best/our':>9}")

    def row(self, name, summary):
        cells = [self.cell(summary[f]) if f in summary else "" for f in self.columns]
        best = ratio(summary)
        text = f"{name:<44}" + "".join(f"{cell:>18}" for cell in cells)
        print(text + (f"{best:>9.2f}" if best else ""), flush=True)

    def cell(self, value):
        """Three digits, and the spread where it matters."""
        if value is None:
            return "failed"
        figure = value[0] * self.scale
        text = f"{figure:,.3g}" if figure < 1000 else f"{figure:,.0f}"
        return text if value[1] < 0.1 else f"{text} ±{value[1]:.0%}"

    def write(self, path, summaries, lines):
        """Tab-separated values below lines of facts."""
        with open(path, "w", encoding="utf-8") as file:
            for line in lines:
                file.write(f"# {line}\n")
            heads = [f"{name}\t{name} spread" for name in self.columns]
            file.write("\t".join(["case", *heads, "best peer / mlxc"]) + "\n")
            for name, summary in summaries.items():
                values = [summary.get(column) for column in self.columns]
                cells = [f"{v[0] * self.scale:.4g}\t{v[1]:.3f}" if v else "\t" for v in values]
                best = ratio(summary)
                file.write("\t".join([name, *cells, f"{best:.3f}" if best else ""]) + "\n")
        print(path)


def plots():
    """matplotlib.pyplot for files, or None."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def draw_ratios(path, summaries, title, label):
    """The ratios on a logarithmic axis: a bar a case, or of many cases a dot each, by family."""
    plt = plots()
    ratios = {name: ratio(summary) for name, summary in summaries.items() if ratio(summary)}
    if plt is None or not ratios:
        return
    many = len(ratios) > MANY
    lines = sorted({name.partition(".")[0] for name in ratios}) if many else list(ratios)
    figure, axes = plt.subplots(figsize=(9, 1.2 + (0.3 if many else 0.2) * len(lines)))
    colors = [AHEAD if value >= 1 else BEHIND for value in ratios.values()]
    if many:
        places = [lines.index(name.partition(".")[0]) for name in ratios]
        axes.scatter(list(ratios.values()), places, c=colors, s=14, alpha=0.7, linewidths=0)
        axes.set_yticks(range(len(lines)), lines)
        axes.grid(axis="y", linewidth=0.3)
    else:
        axes.barh(lines, [value - 1 for value in ratios.values()], left=1, color=colors)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.margins(y=0.02)
    axes.tick_params(which="both", labelsize=7)
    axes.set_xlabel(f"{label} of the best peer / {label} of mlxc (right of 1: mlxc is ahead)")
    axes.set_title(title, fontsize=9)
    save(plt, figure, path)


def draw_sizes(path, cases, summaries, title):
    """Time an element against size: mlxc beside the best peer of each size."""
    plt = plots()
    lines = {}
    for case in cases:
        summary = summaries[case.name]
        if case.size and ratio(summary):
            operation = case.name.rpartition(" ")[0]
            ours = summary["mlxc"][0] * 1e9 / case.size
            lines.setdefault(operation, []).append((case.size, ours, ours * ratio(summary)))
    lines = {name: sorted(points) for name, points in lines.items() if len(points) > 1}
    if plt is None or not lines:
        return
    columns = 3
    rows = -(-len(lines) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(9, 2.2 * rows), squeeze=False)
    for axes in grid.flat[len(lines) :]:
        axes.axis("off")
    for axes, (operation, points) in zip(grid.flat, lines.items()):
        sizes, ours, best = zip(*points)
        axes.loglog(sizes, best, color=BEHIND, marker=".", label="best peer")
        axes.loglog(sizes, ours, color=AHEAD, marker=".", label="mlxc")
        axes.set_title(operation, fontsize=8)
        axes.tick_params(labelsize=7)
    grid[0][0].legend(fontsize=7)
    grid[0][0].set_ylabel("ns an element", fontsize=7)
    figure.suptitle(title, fontsize=9)
    save(plt, figure, path)


def save(plt, figure, path):
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(path)
