"""LSTM, GRU and RNN: torch.nn's, by every name and number, and what the cells here can do besides."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ostinato import cells
from ostinato.cells import Cell
from ostinato.cells.activations import Activation, check_activation
from ostinato.errors import OptionError
from ostinato.interchange import torch_cells
from ostinato.nn.layers import RecurrentLayers


class TorchLayers(RecurrentLayers):
    """Layers whose weights have torch.nn's names, shapes and first values."""

    @property
    def proj_size(self) -> int:
        """P, or 0 for no projection."""
        return self.options.get("projection") or 0

    def held(self, cell: Cell) -> dict[str, tuple[int, ...]]:
        return torch_cells.shapes(cell, self.bias)

    def weights(self, cell: Cell, held: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return torch_cells.from_torch(cell, held)

    def reset_parameters(self) -> None:
        """Draws the weights as torch does, uniform in ±1/√H; those that torch has not are zero."""
        most = 1 / math.sqrt(self.hidden_size)
        for name, weight in self.named_parameters():
            if name.startswith(("weight_", "bias_")):
                nn.init.uniform_(weight, -most, most)
            else:
                nn.init.zeros_(weight)

    def _check(self) -> None:
        if "proj_size" in self.options:
            raise OptionError(f"{self._name}: an LSTM alone has a proj_size; leave it out.")
        super()._check()


class LSTM(TorchLayers):
    """`torch.nn.LSTM`, with every option of `cells.LSTM` as a keyword.

        i, f, g, o = W_ih x + b_ih + W_hh h + b_hh
        c' = σ(f) ∘ c + σ(i) ∘ tanh(g),  h' = σ(o) ∘ tanh(c')          h' = W_hr h' with proj_size

    Weights, of each layer k: `weight_ih_lk [4H, I]`, `weight_hh_lk [4H, P]`, `bias_ih_lk`,
    `bias_hh_lk` `[4H]`, `weight_hr_lk [P, H]`; `…_reverse` for the other direction; gate order i, f, g,
    o, or f, g, o when coupled; with peepholes `p_i_lk`, `p_f_lk`, `p_o_lk` `[H]`, zeros at first.
    State: `(h_n [L·D, B, P], c_n [L·D, B, H])`.

    Options beyond torch's: `forget_bias` (added at run time, 0 as torch has it; what bias_ih begins
    with, and bias_hh with 0, where it is to be stored, `forget_bias_stored`), `peepholes`, `coupled`,
    `cell_clip`, `projection_clip`, `activation`, `gate_activation`, `output_activation`, and those of
    `RecurrentLayers`.

    Differs from torch in: nothing, unless asked to.
    """

    cell_type = cells.LSTM
    usual: ClassVar[Mapping[str, Any]] = {"forget_bias": 0.0}
    called: ClassVar[Mapping[str, str]] = {"projection": "proj_size"}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ):
        if "projection" in options:
            raise OptionError("LSTM: the width of a projection is proj_size here, as in torch.")
        if not isinstance(proj_size, int) or proj_size < 0 or (proj_size and proj_size >= hidden_size):
            raise OptionError(
                f"LSTM: proj_size is 0, for no projection, or less than hidden_size={hidden_size}, got "
                f"{proj_size!r}."
            )
        if options.get("forget_bias_stored") and not bias:
            raise OptionError(
                "LSTM: forget_bias_stored=True keeps the forget bias among the biases, and bias=False "
                "says that there are none. Leave one of them out."
            )
        if proj_size:
            options["projection"] = proj_size
        common = (num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
        super().__init__(input_size, hidden_size, *common, **options)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        options = self.cell_options()
        if options.get("forget_bias_stored"):
            H, first = self.hidden_size, 0 if options.get("coupled") else self.hidden_size
            for name, bias in self.named_parameters():
                if name.startswith("bias_"):
                    stored = options["forget_bias"] if name.startswith("bias_ih") else 0.0
                    nn.init.constant_(bias[first : first + H], stored)


class GRU(TorchLayers):
    """`torch.nn.GRU`, with every option of `cells.GRU` as a keyword.

        r, z = σ(W_ih x + b_ih + W_hh h + b_hh)
        n = tanh(W_in x + b_in + r ∘ (W_hn h + b_hn))
        h' = (1 − z) ∘ n + z ∘ h

    Weights, of each layer k: `weight_ih_lk [3H, I]`, `weight_hh_lk [3H, H]`, `bias_ih_lk`, `bias_hh_lk`
    `[3H]`; `…_reverse` for the other direction; gate order r, z, n. State: `h_n [L·D, B, H]`.

    Options beyond torch's: `reset_after=False`, the form of the paper and of TensorFlow 1, in which the
    two biases are added throughout; `activation`, `gate_activation`, and those of `RecurrentLayers`.

    Differs from torch in: nothing, unless asked to.
    """

    cell_type = cells.GRU
    usual: ClassVar[Mapping[str, Any]] = {"reset_after": True}


class RNN(TorchLayers):
    """`torch.nn.RNN`, with any activation as its `nonlinearity`.

        h' = φ(W_ih x + b_ih + W_hh h + b_hh)

    Weights, of each layer k: `weight_ih_lk [H, I]`, `weight_hh_lk [H, H]`, `bias_ih_lk`, `bias_hh_lk`
    `[H]`; `…_reverse` for the other direction. State: `h_n [L·D, B, H]`.

    Options beyond torch's: those of `RecurrentLayers`.

    Differs from torch in: `nonlinearity` is any name of `ACTIVATIONS` or a function, where torch has
    "tanh" and "relu".
    """

    cell_type = cells.Elman
    called: ClassVar[Mapping[str, str]] = {"activation": "nonlinearity"}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Activation = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ):
        if "activation" in options:
            raise OptionError("RNN: the activation is called nonlinearity here, as in torch.")
        if check_activation(self, nonlinearity, "nonlinearity") != "tanh":
            options["activation"] = nonlinearity
        common = (num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
        super().__init__(input_size, hidden_size, *common, **options)

    @property
    def nonlinearity(self) -> Activation:
        activation: Activation = self.options.get("activation", "tanh")
        return activation
