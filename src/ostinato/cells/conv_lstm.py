"""The LSTM that reads images and remembers images."""

from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import conv2d

from ostinato.cells.cell import Cell, weight
from ostinato.cells.checks import check_size
from ostinato.cells.lstm import LSTMState
from ostinato.errors import OptionError


class ConvLSTM(Cell):
    """Convolutional LSTM: an LSTM at every place of an image, which sees the places around it.

        i, f, g, o = W_x ⋆ x + W_h ⋆ h + b
        f = σ(f + forget_bias),  i = σ(i)          with peepholes: + p_f ∘ c, + p_i ∘ c inside σ
        c' = f ∘ c + i ∘ tanh(g)
        o = σ(o)                                   with peepholes: + p_o ∘ c' inside σ
        h' = o ∘ tanh(c')                          output = h'

    ⋆ is the convolution of networks (a correlation), of width k, with zeros around the image, so that
    height and width stay.

    Source: Shi et al., "Convolutional LSTM network: a machine learning approach for precipitation
    nowcasting", NeurIPS (2015).
    Shapes, with C input channels, H hidden channels and an image of R rows and S columns: `x_t [B, C,
    R, S]`, output `[B, H, R, S]`.
    Weights: `W_x [4H, C, k, k]`, `W_h [4H, H, k, k]`, `b [4H]`, gate order i, f, g, o; with peepholes
    `p_i`, `p_f`, `p_o` `[H, R, S]`. State: `h`, `c`, both `[B, H, R, S]`.
    Initialisation: W_x and W_h Glorot a gate, b and peepholes zero.
    Raises OptionError for an even kernel, ShapeError for sizes below 1.

    Differs from torch in: torch has no such cell. Differs from the paper in: peepholes are off unless
    asked for, and `forget_bias` is added at run time (1, as in TensorFlow 1's ConvLSTMCell).
    """

    State = LSTMState

    def __init__(
        self,
        input_channels: int,
        hidden_channels: int,
        height: int,
        width: int,
        kernel: int = 3,
        *,
        forget_bias: float = 1.0,
        peepholes: bool = False,
    ):
        sizes = {"input_channels": input_channels, "hidden_channels": hidden_channels}
        sizes |= {"height": height, "width": width, "kernel": kernel}
        for name, size in sizes.items():
            check_size(self, name, size)
        if kernel % 2 == 0:
            raise OptionError(
                f"ConvLSTM: kernel must be odd, so that it has a middle; got {kernel}. Take "
                f"{kernel - 1} or {kernel + 1}."
            )
        super().__init__(input_channels, hidden_channels)
        self.height, self.width, self.kernel = height, width, kernel
        self.forget_bias = forget_bias
        H, image = hidden_channels, (hidden_channels, height, width)
        self.W_x = weight(4 * H, input_channels, kernel, kernel)
        self.W_h = weight(4 * H, H, kernel, kernel)
        self.b = weight(4 * H)
        self.p_i = weight(*image) if peepholes else None
        self.p_f = weight(*image) if peepholes else None
        self.p_o = weight(*image) if peepholes else None
        self.reset_parameters()

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.input_size, self.height, self.width)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.hidden_size, self.height, self.width)

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.output_shape, self.output_shape)

    def reset_parameters(self) -> None:
        for kernels in (self.W_x, self.W_h):
            for gate in kernels.detach().chunk(4):
                nn.init.xavier_uniform_(gate)
        for zeroed in (self.b, self.p_i, self.p_f, self.p_o):
            if zeroed is not None:
                nn.init.zeros_(zeroed)

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        around = self.kernel // 2
        read = conv2d(x, self.W_x, self.b, padding=around)
        i, f, g, o = (read + conv2d(state.h, self.W_h, padding=around)).chunk(4, 1)
        f = _gate(f + self.forget_bias, self.p_f, state.c)
        c = f * state.c + _gate(i, self.p_i, state.c) * tanh(g)
        h = _gate(o, self.p_o, c) * tanh(c)
        return h, LSTMState(h, c)

    def extra_repr(self) -> str:
        channels = f"input_channels={self.input_size}, hidden_channels={self.hidden_size}"
        return f"{channels}, height={self.height}, width={self.width}, kernel={self.kernel}"


def _gate(a: Tensor, peephole: Tensor | None, c: Tensor) -> Tensor:
    return sigmoid(a if peephole is None else a + peephole * c)
