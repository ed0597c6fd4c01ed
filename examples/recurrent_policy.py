"""A recurrent policy for a pole whose speed is hidden: walked step by step, learned from all at once.

    python examples/recurrent_policy.py
    python examples/recurrent_policy.py --cell lstm --iterations 120

The environment is gymnasium's CartPole-v1 without its two velocities: an observation tells where cart
and pole are, not how they move, so a policy has to remember. It acts through one-step calls of its
cell. Episodes end and begin while it does; the rollout that comes of it is replayed for learning in one
call of the layer, with `resets` where an episode begins. PPO (Schulman et al. 2017) with generalised
advantage estimation (Schulman et al. 2016), without minibatches.
"""

import time
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
import typer
from torch import Tensor, nn
from torch.distributions import Categorical

from ostinato import states
from ostinato.cells import CELLS
from ostinato.drivers import Recurrent
from ostinato.errors import nearest

SEEN, LIMITS = (0, 2), torch.tensor([2.4, 0.2095])
"""Of CartPole's observation: the cart's place and the pole's angle; past a limit it terminates."""


class Policy(nn.Module):
    """What to do, and what it is worth, from what has been seen so far."""

    def __init__(self, cell: str = "gru", hidden: int = 32, inputs: int = len(SEEN), actions: int = 2):
        super().__init__()
        self.layer = Recurrent(CELLS[cell](inputs, hidden))
        self.actor = nn.Linear(self.layer.output_size, actions)
        self.critic = nn.Linear(self.layer.output_size, 1)

    def begin(self, batch: int) -> Any:
        """The state before an episode."""
        return self.layer.cell.initial_state(batch)

    def step(self, x: Tensor, state: Any) -> tuple[Categorical, Tensor, Any]:
        """An observation `[N, I]` of each environment: how to act, the value `[N]`, the state after."""
        output, state = self.layer.cell(x, state)
        return *self._heads(output), state

    def replay(self, x: Tensor, state: Any, resets: Tensor) -> tuple[Categorical, Tensor]:
        """The same for `[N, T, I]` in one call; the state is the one before the first step."""
        outputs, _ = self.layer(x, state, resets=resets)
        return self._heads(outputs)

    def _heads(self, outputs: Tensor) -> tuple[Categorical, Tensor]:
        return Categorical(logits=self.actor(outputs)), self.critic(outputs).squeeze(-1)


class Rollout(NamedTuple):
    """What N environments and a policy did in T steps; `[N, T]` each but for the first two."""

    state: Any
    """before the first step"""
    x: Tensor
    """`[N, T, I]`"""
    resets: Tensor
    """True where x is the first of an episode"""
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    rewards: Tensor
    after: Tensor
    """what was still to be had after the step: 0 where the episode terminated, else a value"""
    ends: Tensor
    """True where an episode ended, terminated or truncated"""


class Player:
    """Environments, where they stand, and what the policy remembers of each."""

    def __init__(self, count: int, seed: int, limit: int = 200):
        gymnasium = _gymnasium()
        self.environments = [
            gymnasium.make("CartPole-v1", max_episode_steps=limit) for _ in range(count)
        ]
        seeded = [each.reset(seed=seed + n) for n, each in enumerate(self.environments)]
        self.x = torch.stack([_seen(observation) for observation, _ in seeded])
        self.starts = torch.ones(count, dtype=torch.bool)
        self.state: Any = None
        self.returns = torch.zeros(count)

    @torch.no_grad()
    def rollout(self, policy: Policy, steps: int) -> tuple[Rollout, list[float]]:
        """So many steps of each environment, and the return of every episode that ended meanwhile."""
        fresh = policy.begin(len(self.environments))
        first = self.state = fresh if self.state is None else self.state
        kept, finished = [], []
        for _ in range(steps):
            self.state = states.reset(self.state, self.starts, fresh)
            choice, value, self.state = policy.step(self.x, self.state)
            action = choice.sample()
            at = self.x, self.starts, action, choice.log_prob(action), value
            last, rewards, terminated, truncated = self._act(action)
            # A truncated episode would have gone on: its end is worth what the policy still expected.
            _, expected, _ = policy.step(last, self.state)
            self.starts = terminated | truncated
            kept.append((*at, rewards, expected.masked_fill(terminated, 0), self.starts))
            finished += self.returns[self.starts].tolist()
            self.returns.masked_fill_(self.starts, 0)
        columns = (torch.stack(column, 1) for column in zip(*kept, strict=True))
        return Rollout(first, *columns), finished

    def _act(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What each action led to. After an end, the next observation is that of a new episode."""
        came = [each.step(a) for each, a in zip(self.environments, actions.tolist(), strict=True)]
        observations, rewards, terminated, truncated, _ = zip(*came, strict=True)
        last = torch.stack([_seen(each) for each in observations])
        self.x = last.clone()
        for n, ended in enumerate(map(any, zip(terminated, truncated, strict=True))):
            if ended:
                self.x[n] = _seen(self.environments[n].reset()[0])
        gained = torch.tensor(rewards, dtype=torch.float32)
        self.returns += gained
        return last, gained, torch.tensor(terminated), torch.tensor(truncated)


def by_steps(policy: Policy, rollout: Rollout) -> tuple[Tensor, Tensor]:
    """Log-probabilities and values of a rollout, a step at a time: what `replay` has to equal."""
    state, fresh = rollout.state, policy.begin(rollout.x.shape[0])
    log_probs, values = [], []
    for x, starts, action in zip(*(each.unbind(1) for each in rollout[1:4]), strict=True):
        choice, value, state = policy.step(x, states.reset(state, starts, fresh))
        log_probs.append(choice.log_prob(action))
        values.append(value)
    return torch.stack(log_probs, 1), torch.stack(values, 1)


def advantages(rollout: Rollout, discount: float, trace: float) -> Tensor:
    """How much better than expected each action was, counting what followed within its episode."""
    # A value is a mean reward: of rewards of 1 for ever it is 1.
    surprise = (1 - discount) * rollout.rewards + discount * rollout.after - rollout.values
    result, ahead = torch.empty_like(surprise), torch.zeros(surprise.shape[0])
    for t in reversed(range(surprise.shape[1])):
        ahead = surprise[:, t] + discount * trace * ahead * ~rollout.ends[:, t]
        result[:, t] = ahead
    return result


@dataclass(frozen=True)
class Learning:
    """How a policy is made better."""

    rate: float = 3e-3
    epochs: int = 4
    discount: float = 0.99
    trace: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01


def learn(policy: Policy, optimizer: torch.optim.Optimizer, rollout: Rollout, how: Learning) -> None:
    """Makes what went better than expected more likely, within `clip` of how likely it was."""
    better = advantages(rollout, how.discount, how.trace)
    targets = better + rollout.values
    better = (better - better.mean()) / (better.std() + 1e-8)
    for _ in range(how.epochs):
        choice, values = policy.replay(rollout.x, rollout.state, rollout.resets)
        ratio = (choice.log_prob(rollout.actions) - rollout.log_probs).exp()
        gain = torch.minimum(ratio * better, ratio.clamp(1 - how.clip, 1 + how.clip) * better)
        loss = (values - targets).square().mean() / 2 - gain.mean()
        optimizer.zero_grad()
        (loss - how.entropy * choice.entropy().mean()).backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
        optimizer.step()


def main(
    cell: Annotated[
        str, typer.Option(help="One of ostinato.cells.CELLS, such as gru, lstm or sru.")
    ] = "gru",
    iterations: Annotated[int, typer.Option(min=1, help="Rollouts to learn from.")] = 60,
    environments: Annotated[int, typer.Option(min=1, help="N: how many run beside one another.")] = 16,
    steps: Annotated[int, typer.Option(min=2, help="T: steps of each in a rollout.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the weights, the actions and the environments.")] = 1,
) -> list[float]:
    """Learns to balance a pole whose speed is hidden; prints the mean return of each tenth of the way.

    Example: python examples/recurrent_policy.py --cell lstm --iterations 120
    """
    if cell not in CELLS:
        raise typer.BadParameter(f'There is no cell "{cell}"; {nearest(cell, CELLS)}')
    torch.manual_seed(seed)
    policy, player, how = Policy(cell), Player(environments, seed), Learning()
    optimizer = torch.optim.Adam(policy.parameters(), lr=how.rate)
    means: list[float] = []
    finished: list[float] = []
    began = time.perf_counter()
    for iteration in range(1, iterations + 1):
        rollout, ended = player.rollout(policy, steps)
        learn(policy, optimizer, rollout, how)
        finished += ended
        if iteration * 10 // iterations > (iteration - 1) * 10 // iterations and finished:
            means.append(sum(finished) / len(finished))
            seconds = time.perf_counter() - began
            print(
                f"{iteration:4} of {iterations}: {iteration * rollout.rewards.numel():7,} steps, "
                f"{len(finished):4} episodes of mean return {means[-1]:6.1f}, {seconds:5.1f} s",
                flush=True,
            )
            finished = []
    return means


def _seen(observation: Any) -> Tensor:
    return torch.from_numpy(observation[list(SEEN)]).float() / LIMITS


def _gymnasium() -> Any:
    try:
        import gymnasium
    except ModuleNotFoundError:
        raise SystemExit(
            "This example needs the package gymnasium, which is not installed. Install it: "
            'pip install gymnasium, or with the library: pip install "ostinato[examples]".'
        ) from None
    return gymnasium


if __name__ == "__main__":
    typer.run(main)
