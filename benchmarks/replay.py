"""Measures a policy's rollout replayed in one call beside the same rollout walked step by step.

    python benchmarks/replay.py

Forwards and backwards, log-probabilities and values, of the policy in `examples/recurrent_policy.py`;
an episode begins about every fifty steps. The sides take turns, after they were seen to give the same
numbers, gradients included; a ratio is that of the medians. The table goes to standard output, the
results into a record in `benchmarks/records/`.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from ostinato.lab.bench.turns import by_turns
from ostinato.training.run import machine, versions
from record import commit, of_two, todays, write

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from recurrent_policy import Policy, Rollout, by_steps

EPISODE = 50

CASES = {
    f"{cell}/{count}x{steps}": (cell, count, steps, hidden)
    for cell in ("gru", "lstm")
    for count, steps, hidden in ((16, 64, 32), (8, 128, 128), (64, 128, 128))
}
"""The size of the example, few environments, and many."""


def main(
    seconds: Annotated[float, typer.Option(help="For which each side of a case is run.")] = 3.0,
    out: Annotated[Path | None, typer.Option(help="The record's file.")] = None,
) -> None:
    """Measure, print and record."""
    torch.set_num_threads(1)
    results = {}
    for name, (cell, count, steps, hidden) in CASES.items():
        torch.manual_seed(0)
        policy = Policy(cell, hidden)
        rollout = some_rollout(policy, count, steps)
        sides = {"one_call": gradients_of(at_once, policy, rollout)}
        sides["steps"] = gradients_of(by_steps, policy, rollout)
        for one, other in zip(*(run() for run in sides.values()), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
        found = of_two(by_turns(sides, seconds), above="steps", below="one_call")
        results[name] = {
            "command": f"python benchmarks/replay.py --seconds {seconds:g}",
            "commit": commit(),
            "case": f"{cell} of {hidden}, {count} environments, {steps} steps",
            **found,
        }
        print(row(results[name]), flush=True)
    path = out or todays("replay")
    note = "1 thread of torch; times in ms are medians."
    write(path, "cases", results, machine(), versions(), note)
    print(path)


def row(found: Mapping[str, Any]) -> str:
    """Of the table in docs/reinforcement-learning.md."""
    ms = found["ms"]
    return f"| {found['case']} | {ms['one_call']} ms | {ms['steps']} ms | {found['ratio']:.1f} |"


def some_rollout(policy: Policy, count: int, steps: int) -> Rollout:
    """One of which only what a replay reads is there."""
    x = torch.randn(count, steps, policy.layer.cell.input_size)
    resets = torch.rand(count, steps) < 1 / EPISODE
    actions = torch.randint(2, (count, steps))
    return Rollout(policy.begin(count), x, resets, actions, *[x.new_zeros(count, steps)] * 5)


def at_once(policy: Policy, rollout: Rollout) -> tuple[Tensor, Tensor]:
    choice, values = policy.replay(rollout.x, rollout.state, rollout.resets)
    return choice.log_prob(rollout.actions), values


def gradients_of(
    walk: Callable[[Policy, Rollout], tuple[Tensor, Tensor]], policy: Policy, rollout: Rollout
) -> Callable[[], list[Tensor]]:
    def run() -> list[Tensor]:
        log_probs, values = walk(policy, rollout)
        loss = (log_probs + values.square()).mean()
        return [log_probs, values, *torch.autograd.grad(loss, [*policy.parameters()])]

    return run


if __name__ == "__main__":
    typer.run(main)
