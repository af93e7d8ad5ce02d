"""Congestion controllers: they get numbers, own `cwnd`, `ssthresh` and `pacing_rate`, and never see a TCB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.tcp.congestion.bbr import Bbr
from ustack.tcp.congestion.controller import (
    CWR,
    DISORDER,
    INFINITE_SSTHRESH,
    LOSS,
    OPEN,
    RECOVERY,
    AckSample,
    CongestionController,
    LossSample,
)
from ustack.tcp.congestion.cubic import Cubic
from ustack.tcp.congestion.dctcp import Dctcp
from ustack.tcp.congestion.delivery_rate import RateSample
from ustack.tcp.congestion.prague import Prague
from ustack.tcp.congestion.reno import Reno

if TYPE_CHECKING:
    from ustack.config import TcpConfig

__all__ = [
    "CONTROLLERS",
    "CWR",
    "DISORDER",
    "INFINITE_SSTHRESH",
    "LOSS",
    "OPEN",
    "RECOVERY",
    "AckSample",
    "Bbr",
    "CongestionController",
    "Cubic",
    "Dctcp",
    "LossSample",
    "Prague",
    "RateSample",
    "Reno",
    "create",
    "kind",
]

CONTROLLERS: dict[str, type[CongestionController]] = {
    controller.name: controller for controller in (Cubic, Reno, Bbr, Dctcp, Prague)
}
"""By the name that TCP_CONGESTION takes; a user may add a class of its own."""


def kind(name: str) -> type[CongestionController]:
    """The controller of that name; Reno if there is none, as when Linux cannot load a module."""
    return CONTROLLERS.get(name, Reno)


def create(name: str, initial_window: int, config: TcpConfig) -> CongestionController:
    """A new controller of that name, or Reno."""
    return kind(name)(initial_window, config)
