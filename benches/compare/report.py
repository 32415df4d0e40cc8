"""What was measured, as a Markdown table and as a plot in SVG."""

import datetime
import os
import statistics
from html import escape
from pathlib import Path

BEGIN, END = "<!-- benches/compare writes from here -->", "<!-- to here -->"


class Section:
    """One input and what each pipeline took for it, run by run."""

    def __init__(self, title, size, unit, pipelines):
        self.title, self.size, self.unit, self.pipelines = title, size, unit, pipelines
        self.taken = {pipeline.name: [] for pipeline in pipelines}

    def median(self, pipeline):
        """The median time of a pipeline."""
        return statistics.median(run.seconds for run in self.taken[pipeline.name])

    def rate(self, seconds):
        """Units per second."""
        return self.size / seconds

    def ours(self):
        """medseal's line."""
        return next(pipeline for pipeline in self.pipelines if pipeline.ours)

    def table(self):
        """The table of this section."""
        rows = [
            f"| {self.title} | durable | checked | median s [min .. max] | {self.unit} | CPU s, sender / receiver "
            "| largest process, sender / receiver | medseal is |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for pipeline in self.pipelines:
            runs = self.taken[pipeline.name]
            seconds = [run.seconds for run in runs]
            median = self.median(pipeline)
            cpu = " / ".join(f"{statistics.median(getattr(run, side) for run in runs):.1f}"
                             for side in ["sender_cpu", "receiver_cpu"])
            memory = " / ".join(largest([getattr(run, side) for run in runs])
                                for side in ["sender_memory", "receiver_memory"])
            rows.append(
                f"| {'**' if pipeline.ours else ''}`{escape_cell(pipeline.name)}`{'**' if pipeline.ours else ''} "
                f"| {'yes' if pipeline.durable else 'no'} | {checked(pipeline)} "
                f"| {median:.2f} [{min(seconds):.2f} .. {max(seconds):.2f}] | {self.rate(median):.0f} | {cpu} "
                f"| {memory} | {self.compared(pipeline)} |")
        return "\n".join(rows)

    def compared(self, pipeline):
        """How medseal stands to it, said so that a loss reads as one."""
        if pipeline.ours:
            return ""
        ratio = self.median(pipeline) / self.median(self.ours())
        return f"{ratio:.2f} times as fast" if ratio >= 1 else f"**slower: {1 / ratio:.2f} times its time**"

    def processes(self):
        """The resident memory of every process of each pipeline."""
        rows = ["| resident memory at most, MiB | sender | receiver |", "|---|---|---|"]
        for pipeline in self.pipelines:
            cells = []
            for side in ["sender_memory", "receiver_memory"]:
                most = {}
                for run in self.taken[pipeline.name]:
                    for name, kib in getattr(run, side).items():
                        most[name] = max(most.get(name, 0), kib)
                cells.append(", ".join(f"{name} {kib / 1024:.0f}" for name, kib in sorted(most.items())))
            rows.append(f"| {self.title}: `{escape_cell(pipeline.name)}` | {cells[0]} | {cells[1]} |")
        return "\n".join(rows)


def checked(pipeline):
    """What is compared with what before the clock stops."""
    if pipeline.ours:
        return "both digests, signed receipt"
    return "digest of the sealed bytes" if pipeline.checked else "no"


def largest(memories):
    """The largest process of a side over all runs."""
    name, kib = max((item for memory in memories for item in memory.items()
                     if not item[0].endswith("at rest")), key=lambda item: item[1],
                    default=("none seen", 0))
    return f"{name} {kib / 1024:.0f} MiB"


def escape_cell(text):
    """A bar ends a cell, in code too."""
    return text.replace("|", "\\|")


def markdown(sections, rounds):
    """Everything that stands between the two marks of docs/PERFORMANCE.md."""
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown processor")
    load = os.getloadavg()[0]
    parts = [
        f"{os.cpu_count()} cores of {model}, {datetime.date.today()}, {rounds} "
        f"{'round' if rounds == 1 else 'rounds'}, load at the end {load:.1f}; sender and receiver share the machine.",
        "![median time of each pipeline](compare.svg)",
    ]
    for section in sections:
        parts += [section.table(), section.processes()]
        faster = [f"`{pipeline.name}`" for pipeline in section.pipelines
                  if section.median(pipeline) < section.median(section.ours())]
        if faster:
            parts.append(f"{section.title}: faster than medseal here: {', '.join(faster)}.")
    return "\n\n".join(parts) + "\n"


def replace_block(page, text):
    """Puts the text between the marks of a page."""
    old = page.read_text()
    head, _, rest = old.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise ValueError(f"{page} lacks the marks of this program")
    page.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{tail}")


def svg(sections):
    """Horizontal bars: the median, with a line from the fastest run to the slowest."""
    left, width, bar, gap = 300, 860, 20, 10
    span = width - left - 130
    shapes, y = [], 10
    for section in sections:
        longest = max(run.seconds for runs in section.taken.values() for run in runs)
        shapes.append(f'<text class="head" x="8" y="{y + 16}">{escape(section.title)}: seconds, less is better</text>')
        y += 30
        for pipeline in section.pipelines:
            seconds = [run.seconds for run in section.taken[pipeline.name]]
            median, low, high = (span * value / longest for value in
                                 [section.median(pipeline), min(seconds), max(seconds)])
            kind = "ours" if pipeline.ours else "durable" if pipeline.durable else "loose"
            middle = y + bar / 2
            shapes += [
                f'<text x="{left - 8}" y="{middle + 4}" text-anchor="end">{escape(pipeline.name)}</text>',
                f'<rect class="{kind}" x="{left}" y="{y}" width="{median:.1f}" height="{bar}" rx="2"/>',
                f'<path class="range" d="M{left + low:.1f} {middle}H{left + high:.1f}"/>',
                f'<text x="{left + max(median, high) + 8:.1f}" y="{middle + 4}">{section.median(pipeline):.2f} s, '
                f'{section.rate(section.median(pipeline)):.0f} {section.unit}</text>',
            ]
            y += bar + gap
        y += 14
    for x, kind, label in [(8, "ours", "medseal: durable, checked, receipt"), (290, "durable", "durable"),
                           (400, "loose", "not durable")]:
        shapes += [f'<rect class="{kind}" x="{x}" y="{y}" width="14" height="14" rx="2"/>',
                   f'<text x="{x + 20}" y="{y + 12}">{label}</text>']
    y += 26
    body = "\n".join(shapes)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" height="{y}" role="img">
<title>medseal beside what stock tools do</title>
<style>
text {{ font: 13px system-ui, sans-serif; fill: #3d444d }}
.head {{ font-weight: 600 }}
.ours {{ fill: #2f7d6b }} .durable {{ fill: #7a8794 }} .loose {{ fill: #c3cad1 }}
.range {{ stroke: #1f2328; stroke-width: 2 }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #d1d7e0 }}
  .ours {{ fill: #4fb39b }} .durable {{ fill: #8b98a5 }} .loose {{ fill: #56616c }}
  .range {{ stroke: #f0f3f6 }}
}}
</style>
{body}
</svg>
"""
