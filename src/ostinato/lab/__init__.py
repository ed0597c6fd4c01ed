"""The laboratory: what recipes and runs are compared, reproduced and reported with."""
