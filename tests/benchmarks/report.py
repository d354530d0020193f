"""What came out: tables for people, JSON for programs, and whether targets are met."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.measure import Samples

__all__ = ["Report", "Target", "Verdict", "microseconds", "timed"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A promise about a case."""

    case: str
    at_most: float
    reference: str | None = None
    """The limit is this many times that case; None: this many microseconds, which depends on the machine."""

    def judge(self, samples: Samples) -> "Verdict":
        """Compare with what was measured."""
        if self.reference is None:
            measured = samples.median(self.case) * 1e6
            return Verdict(
                f"{self.case}: {self.at_most:g} µs at most", measured, measured <= self.at_most, binding=False
            )
        measured = samples.ratio(self.case, self.reference)
        return Verdict(f"{self.case}: {self.at_most:g} x {self.reference} at most", measured, measured <= self.at_most)


@dataclass(frozen=True)
class Verdict:
    """Whether a promise is kept."""

    promise: str
    measured: float
    met: bool
    binding: bool = True
    """Whether it means the same on any machine."""

    def __str__(self) -> str:
        unit = "x" if self.binding else "µs"
        return f"{'met' if self.met else 'NOT MET'}: {self.promise} (measured {self.measured:.3g} {unit})"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The answer to one question."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    values: dict[str, Any]
    """The same for programs."""
    verdicts: Sequence[Verdict] = ()
    notes: Sequence[str] = ()
    """What went otherwise than meant."""

    def text(self) -> str:
        """Return a table in Markdown and the verdicts below it."""
        head = [f"### {self.title}", "", _line(self.columns), _line(["---", *["---:"] * (len(self.columns) - 1)])]
        lines = [*head, *map(_line, self.rows)]
        if below := [*map(str, self.verdicts), *self.notes]:
            lines += ["", *(f"- {line}" for line in below)]
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        verdicts = [asdict(verdict) for verdict in self.verdicts]
        return {"title": self.title, "values": self.values, "targets": verdicts, "notes": list(self.notes)}


def timed(
    title: str, samples: Samples, baseline: str, targets: Sequence[Target] = (), notes: Sequence[str] = ()
) -> Report:
    """Report the time of each case, and how many times the baseline it is."""
    names = list(samples.seconds)
    return Report(
        title=title,
        columns=["", "µs", f"x {baseline}", "spread"],
        rows=[
            [name, microseconds(samples, name), _short(samples.ratio(name, baseline)), f"{samples.spread(name):.0%}"]
            for name in names
        ],
        values={
            name: {
                "microseconds": samples.median(name) * 1e6,
                "ratio": samples.ratio(name, baseline),
                "spread": samples.spread(name),
            }
            for name in names
        },
        verdicts=[target.judge(samples) for target in targets],
        notes=notes,
    )


def microseconds(samples: Samples, name: str) -> str:
    """Return the median of a case, in microseconds and to three digits."""
    return _short(samples.median(name) * 1e6)


def _short(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ") if number >= 100 else f"{number:.3g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
