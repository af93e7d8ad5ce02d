"""The Python of scripts."""

from __future__ import annotations

import pytest

from tests.packetdrill.writing import LISTEN, SERVER, fails, passes, unsupported


def test_a_snippet_sees_tcp_info() -> None:
    passes(SERVER + "+0 %{ assert tcpi_state == TCP_ESTABLISHED, tcpi_state }%")
    passes(SERVER + "+0 %{ assert tcpi_snd_cwnd == 10; assert tcpi_ca_state == TCP_CA_Open }%")


def test_an_assertion_that_fails_is_told_by_its_line_and_text() -> None:
    text = SERVER + "+0 %{\na = 1\nassert tcpi_snd_cwnd == 11, tcpi_snd_cwnd\n}%"
    fails(text, "error in Python code: AssertionError: 10 (assert tcpi_snd_cwnd == 11, tcpi_snd_cwnd)", 12)


def test_snippets_are_one_program() -> None:
    passes(
        SERVER + "+0 %{ before = tcpi_unacked }%\n+0 write(4, ..., 10) = 10\n+0 %{ assert tcpi_unacked == before + 1 }%"
    )


def test_values_are_those_of_the_event_though_the_code_runs_at_the_end() -> None:
    passes(SERVER + "+0 %{ assert tcpi_unacked == 0 }%\n+0 write(4, ..., 10) = 10")
    fails(SERVER + "+0 %{ assert tcpi_unacked == 1 }%\n+0 write(4, ..., 10) = 9", "runtime error in write call")


def test_a_line_may_be_continued_to_the_end_of_the_snippet() -> None:
    passes(SERVER + "+0 %{ assert tcpi_unacked == 0;\\\n assert tcpi_lost == 0;\\\n}%")


@pytest.mark.parametrize("code", ["import os", "open('x')", "__import__('os')", "nobody"])
def test_nothing_of_the_system_is_within_reach(code: str) -> None:
    unsupported(SERVER + f"+0 %{{ {code} }}%", "error in Python code")


def test_code_that_is_no_python_fails() -> None:
    fails(SERVER + "+0 %{ if }%", "error in Python code: invalid syntax", 10)


def test_code_needs_a_socket() -> None:
    fails("0 %{ pass }%", "no socket to use for code", 1)
    fails(LISTEN + "+0 < S 0:0(0) win 1 <mss 1000>\n+0 %{ pass }%", "no socket to use for code")
    fails(SERVER + "+0 close(4) = 0\n+0 %{ pass }%", "unable to find fd with script fd 4")
