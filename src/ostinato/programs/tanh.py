"""tanh at a third of torch's time: `tanh(a) = 2 σ(2a) − 1`.

On CPUs torch's tanh takes five times as long as its σ, and is most of the element-wise work of an
LSTM. Near 0 the difference loses digits: the result is within 2·10⁻⁷ of tanh's in float32, 4·10⁻¹⁶ in
float64, but not to its last digit. In half precision, where that would show, and elsewhere than on a
CPU, it is torch's own.
"""

import torch
from torch import Tensor

_MINUS_ONE = {
    kind: torch.tensor(-1.0, dtype=kind, device="cpu") for kind in (torch.float32, torch.float64)
}


def tanh(a: Tensor, out: Tensor | None = None) -> Tensor:
    """As `torch.tanh`; `out` may be `a` itself."""
    if not a.is_cpu or a.dtype not in _MINUS_ONE:
        return torch.tanh(a, out=out)
    made = torch.sigmoid(a + a, out=out)
    return torch.add(_MINUS_ONE[a.dtype], made, alpha=2, out=made)
