"""Linux's names for the configuration."""

from __future__ import annotations

import pytest

from ustack.config import SECOND, StackConfig
from ustack.sysctl import Sysctl, canonical, number


@pytest.fixture
def config() -> StackConfig:
    return StackConfig()


@pytest.fixture
def sysctl(config: StackConfig) -> Sysctl:
    return Sysctl(config)


@pytest.mark.parametrize("name", ["net.ipv4.tcp_sack", "net/ipv4/tcp_sack", "/proc/sys/net/ipv4/tcp_sack"])
def test_a_name_may_be_written_as_a_path(name: str, config: StackConfig, sysctl: Sysctl) -> None:
    sysctl.set(name, "0")
    assert config.tcp.sack is False
    assert sysctl.get(name) == "0"
    assert canonical(name) == "net.ipv4.tcp_sack"


def test_a_field_has_linux_s_name_without_its_prefix(config: StackConfig, sysctl: Sysctl) -> None:
    sysctl.set("net.ipv4.tcp_syn_retries", "3")
    assert config.tcp.syn_retries == 3
    assert sysctl.is_acted_upon("net.ipv4.tcp_syn_retries")


def test_units_are_linux_s(config: StackConfig, sysctl: Sysctl) -> None:
    sysctl.set("net.ipv4.tcp_keepalive_time", "60")
    assert config.tcp.keepalive_time_ns == 60 * SECOND
    assert sysctl.get("net.ipv4.tcp_keepalive_time") == "60"
    sysctl.set("net.ipv4.tcp_fin_timeout", "5")
    assert config.tcp.fin_wait_2_timeout_ns == 5 * SECOND


def test_text_is_kept_as_it_is(config: StackConfig, sysctl: Sysctl) -> None:
    sysctl.set("net.ipv4.tcp_congestion_control", " reno\n")
    assert config.tcp.congestion_control == "reno"


def test_port_ranges_are_two_numbers(config: StackConfig, sysctl: Sysctl) -> None:
    sysctl.set("net.ipv4.ip_local_port_range", "2000 3000")
    assert config.ephemeral_ports == (2000, 3000)
    assert sysctl.get("net.ipv4.ip_local_port_range") == "2000\t3000"


def test_a_name_without_a_mechanism_is_remembered(sysctl: Sysctl) -> None:
    assert sysctl.get("net.ipv4.tcp_low_latency") == "0"
    sysctl.set("net.ipv4.tcp_low_latency", "1")
    assert sysctl.get("net.ipv4.tcp_low_latency") == "1"
    assert not sysctl.is_acted_upon("net.ipv4.tcp_low_latency")


def test_parameters_of_modules_are_names_too(sysctl: Sysctl) -> None:
    path = "/sys/module/tcp_other/parameters/knob"
    assert sysctl.get(path) == "0"
    sysctl.set(path, "3")
    assert sysctl.get(path) == "3"


@pytest.mark.parametrize("name", ["net.ipv4.tcp_nonsense", "kernel.hostname", ""])
def test_an_unknown_name_is_a_key_error(name: str, sysctl: Sysctl) -> None:
    with pytest.raises(KeyError):
        sysctl.get(name)
    with pytest.raises(KeyError):
        sysctl.set(name, "1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net.ipv4.tcp_sack", "x"),
        ("net.ipv4.tcp_rmem", "1 2"),
        ("net.ipv4.tcp_fin_timeout", ""),
        ("net.ipv4.ip_local_port_range", "1"),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_value_error(name: str, value: str, sysctl: Sysctl) -> None:
    with pytest.raises(ValueError, match=r"invalid literal|are wanted|not enough values"):
        sysctl.set(name, value)


@pytest.mark.parametrize(("text", "value"), [("10", 10), ("0x10", 16), ("010", 8), ("0", 0), ("-1", -1)])
def test_numbers_are_those_of_the_kernel(text: str, value: int) -> None:
    assert number(text) == value
