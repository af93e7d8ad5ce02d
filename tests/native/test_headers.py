"""native/include/ustack/*.h: what the compiler does not check."""

from __future__ import annotations

import re
from pathlib import Path

from ustack.native import ffi, lib

ROOT = Path(__file__).parents[2]
HEADERS = sorted((ROOT / "native/include/ustack").glob("*.h"))


def array_length(struct: str, name: str) -> int:
    length: int = dict(ffi.typeof(struct).fields)[name].type.length
    return length


def test_arrays_are_as_long_as_their_constants_say() -> None:
    assert array_length("struct burst", "frames") == lib.BURST_FRAMES
    assert array_length("struct fast_path", "touched") == lib.TOUCHED_MAX
    assert array_length("struct tcb", "deadline_ns") == lib.TIMER_COUNT


def test_keys_and_records_have_no_padding() -> None:
    for struct, size in {"struct flow_key": 40, "struct flow": 64, "struct datagram": 48}.items():
        fields = [field.type for _, field in ffi.typeof(struct).fields]
        assert sum(map(ffi.sizeof, fields)) == ffi.sizeof(struct) == size


def test_every_function_has_a_test_here() -> None:
    text = "".join(path.read_text() for path in HEADERS)
    functions = set(re.findall(r"^[a-z].*?\b([a-z0-9_]+)\(", text, re.MULTILINE))
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    missing = {name for name in functions if f"lib.{name}(" not in tests and f"lib.{name})" not in tests}
    assert len(functions) > 50
    assert not missing
