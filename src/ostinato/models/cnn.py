"""The convolutional network that the tutorials compare recurrent ones with."""

from collections.abc import Sequence

from torch import Tensor, nn

from ostinato.errors import ShapeError


class CNN(nn.Module):
    """`x [B, rows, columns] → logits [B, classes]`.

    For each entry of `channels`: a convolution that keeps the size, ReLU, 2×2 max pooling. Then a
    hidden layer with ReLU and dropout, and a linear one. Weights by He's normal draw, biases zero.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        classes: int,
        channels: Sequence[int] = (32, 64),
        kernel: int = 5,
        hidden: int = 1024,
        dropout: float = 0.5,
    ):
        super().__init__()
        shrink = 2 ** len(channels)
        if rows < shrink or columns < shrink:
            raise ShapeError(
                f"CNN: {len(channels)} poolings halve an image of {rows}×{columns} to nothing; use at "
                f"most {min(rows, columns).bit_length() - 1} entries in channels."
            )
        blocks: list[nn.Module] = []
        for before, after in zip((1, *channels), channels, strict=False):
            blocks += [
                nn.Conv2d(before, after, kernel, padding="same"),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels[-1] * (rows // shrink) * (columns // shrink), hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x.unsqueeze(1)))
        return logits
