"""Who else runs a program, and who runs a call."""

from ostinato.kernels.dispatch import ROWS, Row, RowName, choose_row

__all__ = ["ROWS", "Row", "RowName", "choose_row"]
