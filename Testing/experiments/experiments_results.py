"""Writes the tables and charts of docs/experiments.md from the figures that are kept there.

    python Testing/experiments/experiments_results.py docs
    python Testing/experiments/experiments_results.py docs --keep EXPERIMENT WORK --about "how it was run"

docs/experiments has the kept figures of each experiment (every case, label, layer and epoch) and a page of tables made
of them, and docs/images/experiments the charts. The second form first keeps those of an experiment that is finished;
WORK is that of experiments.py, and --about tells sizes, computer and commit, for the page.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from experiments import ABLATION, ALL_SEEDS, EXPERIMENTS
from HLFDSegmentationLib.output.safe_files import replacing, write_text
from HLFDTrainingLib.compare.charts import dice_charts, focus_charts, learning_charts, write_svg
from HLFDTrainingLib.compare.folder import ComparisonFolder
from HLFDTrainingLib.compare.jobs import TEACHER
from HLFDTrainingLib.compare.markdown import markdown
from HLFDTrainingLib.compare.measuring import FOCUS_FIGURES
from HLFDTrainingLib.compare.records import CASE_FIGURES, Records, read_records
from HLFDTrainingLib.compare.rows import Row
from HLFDTrainingLib.compare.summary import TableRow, summarize_records
from HLFDTrainingLib.compare.wording import measured_on
from tuning_chart import tuning_charts

ABOUT = "about.txt"
FIGURES = "rows/*/figures.json"
KEPT = ("comparison.json", "costs.json", "*/figures.json", FIGURES, "rows/*/events.jsonl")
# So that the same figures make the same file.
DATE = (2000, 1, 1, 0, 0, 0)

HEADING = """\
# {title}

{about}

Written by `Testing/experiments/experiments_results.py` from the figures in `{kept}`;
[experiments.md](../experiments.md) tells what was compared.

"""

POOLED_FOCUS = frozenset({"painted_kidney_volumes", "longer_kidney_volumes", "ablation"})
"""Those whose focus was measured when slices of different size were not yet told apart, and was not measured anew."""
ABOUT_POOLED_FOCUS = (
    "Its focus is an older one: how many times more attention the region gets than if it were spread evenly over the "
    "bodies of the case's slices (at most three) together, and not over the body of each slice."
)


@dataclass(frozen=True)
class Result:
    """What a page tells.

    Attributes:
        title: of the page.
        kept: the experiment whose kept figures it is made from.
        rows: those of them that it shows, beside the teacher.
    """

    title: str
    kept: str
    rows: frozenset[Row]


RESULTS = {
    **{
        name: Result(name.replace("_", " ").capitalize(), name, frozenset((*ALL_SEEDS, *experiment.budget.rows)))
        for name, experiment in EXPERIMENTS.items()
        if name != "ablation"
    },
    "ablation": Result("Ablation", "ablation", frozenset(ABLATION)),
    # The ablation's rows lie beside those of the experiment whose teacher they have.
    "painted_kidney_volumes_128": Result("Painted kidney volumes at 128x128", "ablation", frozenset(ALL_SEEDS)),
}


def comparisons(folder: Path) -> list[Path]:
    """The folders of an experiment's comparison, one for each fold that was measured."""
    found = sorted(folder.glob("fold*")) or [folder / "comparison"]
    return [one for one in found if ComparisonFolder(one).measured_runs()]


def keep(name: str, work: Path, about: str, docs: Path) -> None:
    """Keeps the figures of a finished experiment; of no fewer rows than are kept of it, as of a trial with --small."""
    root = work / EXPERIMENTS[name].folder
    folders = comparisons(root)
    if not folders:
        raise SystemExit(f"{root} has no finished row of {name}.")
    rows = sum(len(list(one.glob(FIGURES))) for one in folders)
    if (before := _kept_rows(kept_file(name, docs))) > rows:
        raise SystemExit(
            f"{root} has {rows} finished rows, and {kept_file(name, docs)} holds {before}. Remove that file first, if "
            "these are to take its place."
        )
    with (
        replacing(kept_file(name, docs)) as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_LZMA) as archive,
    ):
        archive.writestr(zipfile.ZipInfo(ABOUT, DATE), about + "\n", zipfile.ZIP_LZMA)
        for path in sorted({path for one in folders for pattern in KEPT for path in one.glob(pattern)}):
            place = zipfile.ZipInfo(path.relative_to(root).as_posix(), DATE)
            archive.writestr(place, path.read_bytes(), zipfile.ZIP_LZMA)


def _kept_rows(kept: Path) -> int:
    if not kept.exists():
        return 0
    with zipfile.ZipFile(kept) as archive:
        return sum(Path(entry).match(FIGURES) for entry in archive.namelist())


def kept_file(name: str, docs: Path) -> Path:
    """The file of an experiment's kept figures."""
    return docs / "experiments" / f"{name}.zip"


@cache
def read_kept(kept: Path) -> tuple[str, Records]:
    """How an experiment was run, and its figures."""
    with tempfile.TemporaryDirectory(prefix="hlfd-") as folder:
        with zipfile.ZipFile(kept) as archive:
            archive.extractall(folder)
        return (Path(folder) / ABOUT).read_text(encoding="utf-8").strip(), read_records(comparisons(Path(folder)))


def read_shown(result: Result, docs: Path) -> Records:
    """The kept figures that a result shows."""
    return of_rows(read_kept(kept_file(result.kept, docs))[1], result.rows)


@cache
def kept_tables(name: str, docs: Path) -> tuple[list[TableRow], list[TableRow]]:
    """The tables of a result: of its cases, and of its focus."""
    records = read_shown(RESULTS[name], docs)
    return summarize_records(records.cases, CASE_FIGURES), summarize_records(records.focus, FOCUS_FIGURES)


def write_result(name: str, docs: Path, output: Path) -> None:
    """Writes an experiment's page and charts from its kept figures."""
    result = RESULTS[name]
    kept = kept_file(result.kept, docs)
    about, _ = read_kept(kept)
    about = f"{about} {ABOUT_POOLED_FOCUS}" if result.kept in POOLED_FOCUS else about
    records = read_shown(result, docs)
    table, focus = kept_tables(name, docs)
    charts = {"dice": dice_charts(table), "focus": focus_charts(focus), "learning": learning_charts(records.learning)}
    if name == "ablation":
        # Beside all seeds of the student alone, of which the table has one.
        charts["tuning"] = tuning_charts(read_kept(kept)[1].cases)
    for kind, drawn in charts.items():
        write_svg(drawn, output / "images" / "experiments" / f"{name}_{kind}.svg")
    text = HEADING.format(title=result.title, about=about, kept=kept.name) + markdown(
        table, focus, records.costs, measured_on(records.cases)
    )
    write_text(output / "experiments" / f"{name}.md", text)


def of_rows(records: Records, rows: frozenset[Row]) -> Records:
    """The records of some rows, and those of the teacher."""
    cases, focus = (
        [one for one in found if one.method == TEACHER or Row(one.method, one.student, one.seed) in rows]
        for found in (records.cases, records.focus)
    )
    learning = {row: epochs for row, epochs in records.learning.items() if row in rows}
    return replace(records, cases=cases, focus=focus, learning=learning)


def main() -> None:
    """Keeps what is asked for, and writes whatever has kept figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("docs", type=Path)
    parser.add_argument("--keep", nargs=2, metavar=("EXPERIMENT", "WORK"))
    parser.add_argument("--about", default="")
    arguments = parser.parse_args()
    for folder in ("experiments", "images/experiments"):
        (arguments.docs / folder).mkdir(parents=True, exist_ok=True)
    if arguments.keep:
        name, work = arguments.keep
        if name not in EXPERIMENTS or not arguments.about:
            parser.error(f"--keep takes one of {', '.join(EXPERIMENTS)}, and needs --about.")
        keep(name, Path(work), arguments.about, arguments.docs)
    for name, result in RESULTS.items():
        if kept_file(result.kept, arguments.docs).is_file():
            write_result(name, arguments.docs, arguments.docs)


if __name__ == "__main__":
    main()
