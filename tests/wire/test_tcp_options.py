"""TCP options: every kind, illegal lengths, and Linux's layout."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dropping import outcome_of
from tests.support.wire_strategies import TCP_OPTIONS
from ustack.drops import Drop, DropReason
from ustack.wire import tcp_options
from ustack.wire.tcp_options import AccurateEcn, TcpOptions, build, parse_options

MD5 = bytes(range(16))


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ("", TcpOptions()),
        ("00", TcpOptions()),
        ("01010100", TcpOptions()),
        ("020405b4", TcpOptions(mss=1460)),
        ("02040000", TcpOptions(mss=0)),
        ("0303ff", TcpOptions(window_scale=255)),
        ("030300", TcpOptions(window_scale=0)),
        ("0402", TcpOptions(sack_permitted=True)),
        ("050a00000001ffffffff", TcpOptions(sack_blocks=((1, 0xFFFFFFFF),))),
        ("0512" + "00000001000000020000000300000004", TcpOptions(sack_blocks=((1, 2), (3, 4)))),
        ("0101080affffffff00000007", TcpOptions(timestamps=(0xFFFFFFFF, 7))),
        ("080a0000000100000002", TcpOptions(timestamps=(1, 2))),
        ("1c048005", TcpOptions(user_timeout=0x8005)),
        ("1312" + MD5.hex(), TcpOptions(md5=MD5)),
        ("2202", TcpOptions(fast_open_cookie=b"")),
        ("2206deadbeef", TcpOptions(fast_open_cookie=b"\xde\xad\xbe\xef")),
        ("2212" + MD5.hex(), TcpOptions(fast_open_cookie=MD5)),
        ("ac02", TcpOptions(accurate_ecn=AccurateEcn(172, ()))),
        ("ae05000001", TcpOptions(accurate_ecn=AccurateEcn(174, (1,)))),
        ("ac0b000001fffffe000003", TcpOptions(accurate_ecn=AccurateEcn(172, (1, 0xFFFFFE, 3)))),
        ("ae060000017f", TcpOptions(accurate_ecn=AccurateEcn(174, (1,)))),
        ("ae0f" + "000001" * 4 + "ff", TcpOptions(accurate_ecn=AccurateEcn(174, (1, 1, 1)))),
        ("fe04f989", TcpOptions(fast_open_cookie=b"", fast_open_experimental=True)),
        ("fe03f9", TcpOptions(unknown=((254, b"\xf9"),))),
        ("1e02", TcpOptions(unknown=((30, b""),))),
    ],
)
def test_each_option_is_read(wire: str, expected: TcpOptions) -> None:
    assert parse_options(bytes.fromhex(wire)) == expected


@pytest.mark.parametrize(
    "wire",
    [
        "02",  # no length
        "0200",  # lengths 0 and 1 would never end
        "0201",
        "fe00",
        "fe01",
        "0203ff",  # a known option of another length than its own
        "02050000ff",
        "030400ff",
        "0302",
        "0403ff",
        "080900000000000000",
        "080b000000000000000000",
        "0502",  # SACK without a block, and with half a one
        "050600000001",
        "050e" + "00" * 12,
        "052a" + "00" * 40,  # five blocks
        "1311" + "00" * 15,
        "1c03ff",
        "0204",  # beyond the end
        "020405",
        "fe05ffff",
        "0101080a0000000100000",
    ],
)
def test_an_illegal_length_is_dropped(wire: str) -> None:
    with pytest.raises(Drop) as caught:
        parse_options(bytes.fromhex(wire + "0" * (len(wire) % 2)))
    assert caught.value.reason is DropReason.TCP_OPTION_LENGTH
    assert "option" in caught.value.detail


@pytest.mark.parametrize("size", [1, 2, 3, 5, 15, 17, 18])
def test_a_fast_open_cookie_of_a_wrong_length_is_ignored(size: int) -> None:
    options = parse_options(bytes((34, 2 + size)) + bytes(size))
    assert options == TcpOptions(unknown=((34, bytes(size)),))


def test_nothing_after_end_of_list_is_read() -> None:
    assert parse_options(bytes.fromhex("020405b400020405dc")) == TcpOptions(mss=1460)


def test_of_an_option_twice_the_last_counts() -> None:
    assert parse_options(bytes.fromhex("020405b4020405dc")) == TcpOptions(mss=1500)


def test_a_syn_is_laid_out_as_linux_does() -> None:
    options = TcpOptions(mss=1460, window_scale=7, sack_permitted=True, timestamps=(0x11223344, 0))
    assert build(options).hex() == "020405b4" + "0402080a1122334400000000" + "01030307"


def test_a_syn_without_timestamps_is_laid_out_as_linux_does() -> None:
    options = TcpOptions(mss=1460, window_scale=7, sack_permitted=True)
    assert build(options).hex() == "020405b4" + "01010402" + "01030307"


def test_an_ack_with_sack_is_laid_out_as_linux_does() -> None:
    options = TcpOptions(timestamps=(1, 2), sack_blocks=((3, 4),))
    assert build(options).hex() == "0101080a0000000100000002" + "0101050a0000000300000004"


def test_a_syn_with_a_fast_open_cookie_is_laid_out_as_linux_does() -> None:
    options = TcpOptions(mss=1460, window_scale=7, sack_permitted=True, timestamps=(1, 0), fast_open_cookie=bytes(8))
    assert build(options).hex() == "020405b4" + "0402080a0000000100000000" + "01030307" + "220a" + "00" * 8 + "0101"


def test_md5_comes_first_as_linux_has_it() -> None:
    assert build(TcpOptions(mss=1460, md5=MD5)).hex() == "01011312" + MD5.hex() + "020405b4"


def test_no_options_are_no_bytes() -> None:
    assert build(TcpOptions()) == b""


def test_three_sack_blocks_fit_beside_timestamps_and_four_alone() -> None:
    blocks = tuple((number, number + 1) for number in range(4))
    assert len(build(TcpOptions(timestamps=(1, 2), sack_blocks=blocks[:3]))) == 40
    assert len(build(TcpOptions(sack_blocks=blocks))) == 36


@pytest.mark.parametrize(
    "built",
    [
        tcp_options.build_mss(1),
        tcp_options.build_window_scale(1),
        tcp_options.build_sack_permitted(),
        tcp_options.build_timestamps(1, 2),
        tcp_options.build_timestamps(1, 2, sack_permitted=True),
        tcp_options.build_sack([(1, 2)]),
        tcp_options.build_fast_open(b"123456"),
        tcp_options.build_fast_open(b""),
        tcp_options.build_user_timeout(1),
        tcp_options.build_md5(MD5),
    ],
)
def test_every_known_option_is_built_aligned(built: bytes) -> None:
    assert len(built) % 4 == 0
    assert parse_options(built) != TcpOptions()


@given(TCP_OPTIONS)
def test_parsing_gives_back_what_was_built(options: TcpOptions) -> None:
    built = build(options)
    assert len(built) % 4 == 0
    assert parse_options(built) == options


@given(st.binary(max_size=40))
def test_any_bytes_are_options_that_build_again_or_an_illegal_length(data: bytes) -> None:
    outcome = outcome_of(parse_options, data)
    if isinstance(outcome, Drop):
        assert outcome.reason is DropReason.TCP_OPTION_LENGTH
    else:
        assert parse_options(build(outcome)) == outcome
