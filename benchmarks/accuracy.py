"""Trains recipes at full length from several seeds, and records how well they test.

    python benchmarks/accuracy.py sru lstm --seeds 0,1,2

Every training is `ostinato train RECIPE --seed N --threads 1` in a process of its own, as many side by
side as there are cores. Finished runs are kept, interrupted ones resumed, so this can be stopped and
started again. A day's results are gathered in one record in `benchmarks/records/`; the
table goes to standard output.

Test accuracy is measured once, at the end, on the model read back from disk. `lstm-deep` has it every
500 steps besides, as its tutorial does; the one at step 500 is in the record.
"""

import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from ostinato.training import RunFolder, recipe_names
from ostinato.training.metrics import read_metrics
from record import commit, todays, write

OSTINATO = [sys.executable, "-m", "ostinato"]


def main(
    recipes: Annotated[list[str] | None, typer.Argument(help="All of them by default.")] = None,
    seeds: Annotated[str, typer.Option(help="Separated by commas.")] = "0,1,2",
    runs: Annotated[Path, typer.Option(help="Where the run folders go.")] = Path("runs/accuracy"),
    jobs: Annotated[int, typer.Option(help="Trainings side by side.")] = os.cpu_count() or 1,
    out: Annotated[Path | None, typer.Option(help="The record's file.")] = None,
) -> None:
    """Train, test and record."""
    wanted = [(recipe, int(seed)) for seed in seeds.split(",") for recipe in recipes or recipe_names()]
    with ThreadPoolExecutor(jobs) as pool:
        folders = list(pool.map(lambda pair: finish(*pair, runs), wanted))
    results: dict[str, list[dict[str, Any]]] = {}
    for (recipe, seed), folder in zip(wanted, folders, strict=True):
        results.setdefault(recipe, []).append(result(folder, seed))
    path = out or todays("accuracy")
    ran = folders[0].read_record()
    together = write(
        path,
        "recipes",
        {recipe: summary(recipe, each) for recipe, each in results.items()},
        ran.machine,
        ran.versions,
        "Trained side by side: the times are no measure of speed.",
    )
    print(table(together))
    print(f"\n{path}")


def finish(recipe: str, seed: int, runs: Path) -> RunFolder:
    """The finished run of a recipe and seed; trained or resumed if need be."""
    path = runs / f"{recipe}-seed{seed}"
    if (path / "run.json").exists():
        if RunFolder.open(path).read_record().status != "finished":
            subprocess.run([*OSTINATO, "resume", path], check=True, stdout=subprocess.DEVNULL)
    else:
        arguments = [recipe, "--seed", str(seed), "--threads", "1", "--out", str(path)]
        subprocess.run([*OSTINATO, "train", *arguments], check=True, stdout=subprocess.DEVNULL)
    print(f"{path} is finished", file=sys.stderr, flush=True)
    return RunFolder.open(path)


def result(run: RunFolder, seed: int) -> dict[str, Any]:
    """What one run came to."""
    record = run.read_record()
    assert record.result is not None
    tested = {
        int(row["step"]): float(row["test_accuracy"])
        for row in read_metrics(run.metrics)
        if row["test_accuracy"]
    }
    return {
        "seed": seed,
        "steps": record.steps,
        "parameters": record.parameters,
        "seconds": record.seconds,
        "step_ms": record.step_ms,
        **record.result,
        **({"test_accuracy_at_step": tested} if tested else {}),
    }


def summary(recipe: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and range over the seeds, the runs themselves, and what makes them again."""
    seeds = ",".join(str(run["seed"]) for run in runs)
    command = f"python benchmarks/accuracy.py {recipe} --seeds {seeds}"
    scores = [run["test_accuracy"] for run in runs]
    spread = {"mean": statistics.mean(scores), "low": min(scores), "high": max(scores)}
    summed: dict[str, Any] = {"command": command, "commit": commit(), **spread}
    if "test_accuracy_at_step" in runs[0]:
        steps = runs[0]["test_accuracy_at_step"]
        summed["mean_at_step"] = {
            step: statistics.mean(run["test_accuracy_at_step"][step] for run in runs) for step in steps
        }
    return summed | {"runs": runs}


def table(recipes: dict[str, dict[str, Any]]) -> str:
    """For people, in Markdown."""
    lines = [
        "| recipe | steps | test accuracy | lowest – highest | seeds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for recipe, each in recipes.items():
        seeds = ", ".join(str(run["seed"]) for run in each["runs"])
        span = f"{each['low']:.2%} – {each['high']:.2%}"
        steps = f"{each['runs'][0]['steps']:,}"
        lines.append(f"| `{recipe}` | {steps} | {each['mean']:.2%} | {span} | {seeds} |")
        for step, score in each.get("mean_at_step", {}).items():
            lines.append(f"| … at step {step} | | {score:.2%} | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
