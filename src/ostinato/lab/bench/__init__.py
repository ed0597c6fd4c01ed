"""Layers and kernels beside what users would otherwise use: cases, peers, and how they are measured."""
