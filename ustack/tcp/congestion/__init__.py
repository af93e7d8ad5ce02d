"""Congestion controllers: they get numbers, own `cwnd` and `ssthresh`, and never see a TCB."""

from __future__ import annotations

from ustack.tcp.congestion.controller import AckSample, CongestionController, LossSample, RateSample
from ustack.tcp.congestion.reno import Reno

__all__ = ["CONTROLLERS", "AckSample", "CongestionController", "LossSample", "RateSample", "Reno", "create"]

CONTROLLERS: dict[str, type[CongestionController]] = {"reno": Reno}
"""By the name that TCP_CONGESTION takes; a user may add a class of its own."""


def create(name: str, initial_window: int) -> CongestionController:
    """A new controller with `initial_window` segments.  Raises KeyError for an unknown name."""
    return CONTROLLERS[name](initial_window)
