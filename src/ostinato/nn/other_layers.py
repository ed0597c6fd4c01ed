"""The cells that torch.nn does not have, in its form.

What each computes, its weights and their first values stand in the cell's docstring. All of them have
the options of `RecurrentLayers`, and the cell's own as named here.
"""

from ostinato import cells
from ostinato.nn.layers import RecurrentLayers


class SRU(RecurrentLayers):
    """The simple recurrent unit in its first form: layers of `cells.SRU`.

    State: `c_n`. Options: `highway`.
    """

    cell_type = cells.SRU


class SRU2(RecurrentLayers):
    """The simple recurrent unit in its second form, whose gates see c: layers of `cells.SRU2`.

    State: `c_n`. Options: `highway_bias`, `rescale`.
    """

    cell_type = cells.SRU2


class LayerNormLSTM(RecurrentLayers):
    """LSTM with each gate and the memory normalised: layers of `cells.LayerNormLSTM`.

    State: `(h_n, c_n)`. Options: `forget_bias`, `epsilon`.
    """

    cell_type = cells.LayerNormLSTM


class SplitLayerNormLSTM(RecurrentLayers):
    """LSTM with each product normalised by itself: layers of `cells.SplitLayerNormLSTM`.

    State: `(h_n, c_n)`. Options: `forget_bias`, `epsilon`.
    """

    cell_type = cells.SplitLayerNormLSTM


class LayerNormGRU(RecurrentLayers):
    """GRU with each product normalised by itself: layers of `cells.LayerNormGRU`.

    State: `h_n`. Options: `epsilon`.
    """

    cell_type = cells.LayerNormGRU


class QRNN(RecurrentLayers):
    """The quasi-recurrent network: layers of `cells.QRNN`.

    State: `c_n`, or `(c_n, x_prev_n)` with window 2. Options: `pooling`, `window`.
    """

    cell_type = cells.QRNN


class IndRNN(RecurrentLayers):
    """The independently recurrent network: layers of `cells.IndRNN`.

    State: `h_n`. Options: `activation`.
    """

    cell_type = cells.IndRNN


class MinGRU(RecurrentLayers):
    """The GRU whose gate sees the input alone: layers of `cells.MinGRU`.

    State: `h_n`.
    """

    cell_type = cells.MinGRU


class MinLSTM(RecurrentLayers):
    """The LSTM whose gates see the input alone: layers of `cells.MinLSTM`.

    State: `h_n`.
    """

    cell_type = cells.MinLSTM


class UGRNN(RecurrentLayers):
    """The update-gate network: layers of `cells.UGRNN`.

    State: `h_n`. Options: `forget_bias`, `activation`.
    """

    cell_type = cells.UGRNN


class LRU(RecurrentLayers):
    """The linear recurrent unit: layers of `cells.LRU`.

    State: `(re_n, im_n)`. Options: `state_size`, `r_min`, `r_max`, `max_phase`.
    """

    cell_type = cells.LRU
