"""The results, as a table to read, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measure import Contender, Row, Target

#: Above this a row without a target is called slower; below, the two are equal.
_EQUAL = 1.01


@dataclass(frozen=True)
class Line:
    """Ours against one other, or against a limit."""

    ours: str
    against: str
    takes: str
    ratio: str
    reach: str
    verdict: str


HEADINGS = ("work", "ours", "against", "takes", "ratio", "to reach", "")


def lines(row: Row) -> Iterator[Line]:
    ours = row.ours.median
    shown = row.ours.absent or quantity(ours, row.unit)
    for fixed in row.targets:
        if fixed.kind == "absolute":
            limit = quantity(fixed.limit, row.unit)
            ratio = _ratio(ours / fixed.limit) if ours is not None else "–"
            verdict = _verdict(fixed, ours, None, row.unit)
            yield Line(shown, "(a fixed limit)", limit, ratio, "≤ 1.00", verdict)
    for other in row.contenders[1:]:
        theirs = other.median
        target = next((t for t in row.targets if t.against == other.label), None)
        yield Line(
            shown,
            other.label,
            other.absent or quantity(theirs, row.unit),
            _compared(target, ours, theirs, row.unit),
            _reach(target, row.unit),
            _verdict(target, ours, theirs, row.unit),
        )
    if len(row.contenders) == 1 and not any(t.kind == "absolute" for t in row.targets):
        yield Line(shown, "", "", "", "", "")


def _compared(target: Target | None, ours: float | None, theirs: float | None, unit: str) -> str:
    if ours is None or theirs is None:
        return "–"
    if target and target.kind == "above":
        return f"+{quantity(max(0.0, ours - theirs), unit)}"
    return _ratio(ours / theirs) if theirs else "–"


def _reach(target: Target | None, unit: str) -> str:
    if target is None:
        return ""
    if target.kind == "above":
        return f"≤ +{quantity(target.limit, unit)}"
    return f"≤ {_ratio(target.limit)}"


def _verdict(target: Target | None, ours: float | None, theirs: float | None, unit: str) -> str:
    if target is not None:
        met = is_met(target, ours, theirs)
        return "" if met is None else "met" if met else "MISSED"
    if ours is None or not theirs:
        return ""
    if ours / theirs <= _EQUAL:
        return ""
    return "larger" if unit == "B" else "slower"


def is_met(target: Target, ours: float | None, theirs: float | None) -> bool | None:
    """None when it was not measured."""
    if ours is None:
        return None
    if target.kind == "absolute":
        return ours <= target.limit
    if theirs is None:
        return None
    if target.kind == "above":
        return ours - theirs <= target.limit
    return ours <= target.limit * theirs


def quantity(value: float | None, unit: str) -> str:
    """Three digits and a unit; bytes in binary units."""
    if value is None:
        return "–"
    if unit == "B":
        if value < 1 << 20:
            return f"{value / 1024:.0f} KiB"
        return f"{_three(value / (1 << 20))} MiB"
    for scale, name in ((1, "s"), (1e-3, "ms")):
        if value >= scale:
            return f"{_three(value / scale)} {name}"
    return f"{_three(value / 1e-6)} µs"


def _ratio(value: float) -> str:
    return _three(value) if value >= 0.001 else "<0.001"


def _three(value: float) -> str:
    return (
        f"{value:.{0 if value >= 99.95 else 1 if value >= 9.995 else 2 if value >= 0.9995 else 3}f}"
    )


# --- text

_WIDTHS = (50, 10, 32, 10, 8, 9)


def header_text() -> str:
    return _cells(HEADINGS)


def row_text(row: Row) -> str:
    out = []
    for nth, line in enumerate(lines(row)):
        cells = (line.ours, line.against, line.takes, line.ratio, line.reach, line.verdict)
        if nth == 0 and len(row.name) > _WIDTHS[0]:
            out.append(row.name)
            out.append(_cells(("", *cells)))
        else:
            out.append(
                _cells((row.name if nth == 0 else "", *(("", *cells[1:]) if nth else cells)))
            )
    return "\n".join(out)


def _cells(cells: Iterable[str]) -> str:
    first, ours, against, *rest = cells
    texts = [f"{first:<{_WIDTHS[0]}}", f"{ours:>{_WIDTHS[1]}}", f"  {against:<{_WIDTHS[2]}}"]
    texts += [f"{text:>{width}}" for text, width in zip(rest, _WIDTHS[3:])]
    return (" ".join(texts) + f"  {rest[-1]}").rstrip()


# --- Markdown

_BEGIN = "<!-- table: begin (python benches/run.py --markdown writes what follows) -->"
_END = "<!-- table: end -->"


def write_markdown(path: Path, facts: dict[str, dict[str, str]], rows: list[Row]) -> None:
    """Replaces what stands between the two markers, or adds it at the end."""
    text = path.read_text(encoding="utf-8") if path.exists() else "# Benchmarks\n"
    before, found, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2] if found else "\n"
    body = "\n".join(_markdown(facts, rows))
    before = before if before.endswith("\n\n") else before.rstrip("\n") + "\n\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{before}{_BEGIN}\n\n{body}\n\n{_END}{after}", encoding="utf-8")


def _markdown(facts: dict[str, dict[str, str]], rows: list[Row]) -> Iterator[str]:
    for heading, entries in facts.items():
        yield f"**{heading}**: " + "; ".join(f"{k} {v}" for k, v in entries.items()) + "."
        yield ""
    yield summary(rows)
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            yield f"\n### {section}\n"
            yield "| " + " | ".join(HEADINGS) + " |"
            yield "|---|--:|---|--:|--:|--:|---|"
        for nth, line in enumerate(lines(row)):
            verdict = f"**{line.verdict}**" if line.verdict == "MISSED" else line.verdict
            cells = (
                row.name if nth == 0 else "", line.ours if nth == 0 else "",
                line.against, line.takes, line.ratio, line.reach, verdict,
            )  # fmt: skip
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def summary(rows: list[Row]) -> str:
    """How many targets are met, and which are not."""
    met, missed = 0, []
    for row in rows:
        theirs = {c.label: c.median for c in row.contenders}
        for target in row.targets:
            outcome = is_met(target, row.ours.median, theirs.get(target.against))
            met += outcome is True
            if outcome is False:
                missed.append(f"{row.name} (against {target.against or 'its limit'})")
    total = met + len(missed)
    text = f"Targets met: {met} of {total}."
    return text + (f" Missed: {'; '.join(missed)}." if missed else "")


# --- JSON


def write_json(path: Path, facts: dict[str, dict[str, str]], rows: list[Row]) -> None:
    """Everything, each sample included: seconds, or bytes where the unit is B."""
    found = {"facts": facts, "rows": [_row_json(row) for row in rows]}
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _row_json(row: Row) -> dict[str, Any]:
    theirs = {c.label: c.median for c in row.contenders}

    def result(c: Contender) -> dict[str, Any]:
        return {"median": c.median, "samples": c.samples, "absent": c.absent or None}

    return {
        "section": row.section,
        "work": row.name,
        "unit": row.unit,
        "results": {c.label: result(c) for c in row.contenders},
        "targets": [
            {**asdict(t), "met": is_met(t, row.ours.median, theirs.get(t.against))}
            for t in row.targets
        ],
    }
