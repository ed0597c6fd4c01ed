"""One step of learning, whatever is learned by it."""

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, Optimizer

from ostinato.training.observer import Step
from ostinato.training.recipe import AdamSettings, Recipe, SGDSettings


def make_optimizer(settings: AdamSettings | SGDSettings, network: nn.Module) -> Optimizer:
    """Torch's optimiser in its fused form: one pass over all weights."""
    weights = network.parameters()
    if isinstance(settings, AdamSettings):
        first, second = settings.betas
        return Adam(weights, settings.lr, (first, second), settings.eps, fused=True)
    return SGD(weights, settings.lr, settings.momentum, fused=True)


def learn(
    network: nn.Module, optimizer: Optimizer, x: Tensor, labels: Tensor, clip_norm: float
) -> tuple[float, float]:
    """One step of learning; the loss and accuracy before it."""
    logits = network(x)
    loss = cross_entropy(logits, labels)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if clip_norm:
        clip_grad_norm_(network.parameters(), clip_norm)
    optimizer.step()
    # Divided here: in single precision 3 of 10 would be above 0.3.
    return loss.item(), int((logits.argmax(-1) == labels).sum()) / len(labels)


def early_end(recipe: Recipe, step: Step, total: int) -> str | None:
    """Why this step is the last although more were allowed; None when it is not."""
    wanted = recipe.training.until_batch_accuracy
    if wanted is None or step.accuracy <= wanted or step.step == total:
        return None
    return (
        f"Ended after step {step.step} of {total}: its batch reached an accuracy of "
        f"{step.accuracy:.4f}, above {wanted}."
    )
