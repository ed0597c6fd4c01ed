"""Reinforcement learning: replayed in one call, a rollout is what it was step by step."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import recurrent_policy
import replay
from ostinato import states
from recurrent_policy import Learning, Player, Policy, advantages, by_steps, main

SCRIPT = Path(recurrent_policy.__file__)


def rollouts(cell, count, steps, seed=0):
    """A policy, and two rollouts of it: the second begins in the midst of episodes."""
    torch.manual_seed(seed)
    policy, player = Policy(cell, hidden=8), Player(count, seed, limit=15)
    return policy, [player.rollout(policy, steps)[0] for _ in range(2)]


@pytest.mark.parametrize("cell", ["gru", "lstm", "sru", "layer_norm_lstm", "lru"])
def test_one_call_is_the_step_loop(cell):
    policy, both = rollouts(cell, count=5, steps=40)
    for rollout in both:
        assert rollout.resets[:, 1:].any(), "an episode begins within"
        assert not rollout.resets.all(1).any()
        choice, values = policy.replay(rollout.x, rollout.state, rollout.resets)
        # What the policy did and thought while it acted, in float32.
        torch.testing.assert_close(choice.log_prob(rollout.actions), rollout.log_probs)
        torch.testing.assert_close(values, rollout.values)
    assert not both[1].resets[:, 0].all(), "the second rollout goes on where the first ended"

    rollout = both[1]
    policy.double()
    rollout = rollout._replace(x=rollout.x.double(), state=states.to(rollout.state, dtype=torch.double))
    results = []
    for log_probs, values in (by_steps(policy, rollout), replay.at_once(policy, rollout)):
        loss = (log_probs.sin() + values.square()).sum()
        results.append([log_probs, values, *torch.autograd.grad(loss, list(policy.parameters()))])
    for steps, one_call in zip(*results, strict=True):
        assert steps.any()
        torch.testing.assert_close(one_call, steps, rtol=1e-9, atol=1e-11)


def test_without_resets_it_would_be_another_policy():
    policy, (rollout, _) = rollouts("gru", count=5, steps=40)
    _, values = policy.replay(rollout.x, rollout.state, torch.zeros_like(rollout.resets))
    assert (values - rollout.values).abs().max() > 1e-3


def test_what_a_truncated_end_is_worth():
    """An episode cut off by the limit is worth what was expected of it; one that failed, nothing."""
    _, both = rollouts("gru", count=8, steps=60)
    for rollout in both:
        after, ends = rollout.after, rollout.ends
        assert ((after == 0) == (ends & (after == 0))).all(), "only an end is worth nothing"
        assert (after[ends] != 0).any()
        assert (after[ends] == 0).any()
        torch.testing.assert_close(after[:, :-1][~ends[:, :-1]], rollout.values[:, 1:][~ends[:, :-1]])
        assert torch.equal(rollout.resets[:, 1:], ends[:, :-1])


def test_advantages_do_not_cross_an_end():
    _, (rollout, _) = rollouts("gru", count=4, steps=40)
    how = Learning()
    whole = advantages(rollout, how.discount, how.trace)
    for row, end in rollout.ends.nonzero().tolist():
        alone = type(rollout)(None, *(each[row : row + 1, : end + 1] for each in rollout[1:]))
        torch.testing.assert_close(whole[row, : end + 1], advantages(alone, how.discount, how.trace)[0])


def test_it_learns(capsys):
    """From 22 steps, which is what chance brings; three seeds came to 160 and more."""
    means = main("gru", iterations=40, environments=16, steps=64, seed=1)
    assert means[0] < 40
    assert max(means[-3:]) > 100
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("  40 of 40:  40,960 steps,")


def test_same_seed_same_run():
    runs = [main("gru", iterations=3, environments=2, steps=20, seed=4) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0]


def run(*arguments):
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_has_an_example():
    done = run("--help")
    assert done.returncode == 0
    assert "Example: python examples/recurrent_policy.py --cell lstm" in " ".join(done.stdout.split())


def test_a_cell_that_does_not_exist():
    done = run("--cell", "gruu")
    assert done.returncode == 2
    assert 'There is no cell "gruu"; did you mean "gru"' in " ".join(
        done.stderr.replace("│", "").split()
    )


def test_without_gymnasium(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(
        SystemExit, match="needs the package gymnasium, which is not installed. Install it"
    ):
        Player(1, 0)


def test_the_benchmark_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "CASES", {"gru/2x9": ("gru", 2, 9, 5)})
    replay.main(seconds=0.0, out=tmp_path / "record.json")
    assert '"ratio"' in (tmp_path / "record.json").read_text()


def test_the_page_says_what_the_newest_record_found():
    root = SCRIPT.parents[1]
    page = (root / "docs/reinforcement-learning.md").read_text()
    record = max((root / "benchmarks/records").glob("*-replay.json"))
    cases = json.loads(record.read_text())["cases"]
    assert record.name in page
    assert set(cases) == set(replay.CASES)
    assert all(replay.row(case) in page for case in cases.values())
