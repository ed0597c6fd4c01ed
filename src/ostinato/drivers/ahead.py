"""What can be walked step by step as time goes: layers that never look ahead."""

from torch import nn

from ostinato.errors import OptionError


def only_ahead(layer: nn.Module, driver: str, reason: str) -> None:
    """Raises OptionError, with the reason, if any part of the layer reads from a sequence's end.

    Of a layer in torch's form it also wants the batch first, as the driver has it.
    """
    for part in layer.modules():
        if not getattr(part, "batch_first", True):
            raise OptionError(
                f"{driver}: expected layers that are batch-first, got {type(part).__name__} with "
                "batch_first=False. Make it with batch_first=True; the weights are the same."
            )
        if getattr(part, "bidirectional", False):
            raise OptionError(
                f"{driver}: expected layers that run forwards, got {type(part).__name__} with "
                f"bidirectional=True: it reads each sequence from its end, and {reason}."
            )
        if getattr(part, "reverse", False) or hasattr(part, "backward_layer"):
            kind = "a layer with reverse=True" if hasattr(part, "reverse") else type(part).__name__
            raise OptionError(
                f"{driver}: expected layers that run forwards, got {kind}: it reads each sequence from "
                f"its end, and {reason}. Use a forward layer."
            )
