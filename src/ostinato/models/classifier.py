"""A recurrent network that reads an image row by row and says what it shows."""

from typing import Literal

from torch import Tensor, nn

Readout = Literal["last", "mean"]


class SequenceClassifier(nn.Module):
    """Many to one: `x [B, T, I] → logits [B, classes]`.

    `encoder` is any layer, stack or pair that returns `(outputs [B, T, H], state)`. `readout` is what
    the linear layer sees of the outputs: the one at the last step, or their mean over time.
    `output_dropout` drops from the outputs before that, a new mask each step.

    Initialisation of the linear layer: weights uniform by Glorot, bias zero.
    """

    def __init__(
        self,
        encoder: nn.Module,
        classes: int,
        readout: Readout = "last",
        output_dropout: float = 0.0,
    ):
        super().__init__()
        self.encoder = encoder
        self.readout = readout
        self.output_dropout = nn.Dropout(output_dropout)
        self.head = nn.Linear(encoder.output_size, classes)  # type: ignore[arg-type]
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = self.encoder(x)
        return self.read(outputs)

    def read(self, outputs: Tensor) -> Tensor:
        """What the linear layer says of the encoder's outputs."""
        # The last step alone is kept before dropout: masks for the others would be drawn for nothing.
        seen = outputs[:, -1] if self.readout == "last" else outputs
        seen = self.output_dropout(seen)
        logits: Tensor = self.head(seen if self.readout == "last" else seen.mean(1))
        return logits
