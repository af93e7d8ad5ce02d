"""Declares and builds `ustack._native` (cffi, API mode) from `native/include/ustack/*.h` and `native/src/*.c`.

Nothing is declared twice: what Python sees are the headers themselves, without comments and preprocessor lines.
"""

import re
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = Path("native/include")
SOURCES = Path("native/src")

_INCLUDE_LINE = re.compile(r'^#include "(ustack/[a-z_]+\.h)"$', re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_PREPROCESSOR_LINE = re.compile(r"^#.*$", re.MULTILINE)


def headers() -> list[str]:
    """The names of all headers, each after those that it includes."""
    ordered: list[str] = []
    for path in sorted((ROOT / INCLUDE).glob("ustack/*.h")):
        _append_after_included(f"ustack/{path.name}", ordered)
    return ordered


def _append_after_included(name: str, ordered: list[str]) -> None:
    if name in ordered:
        return
    for included in _INCLUDE_LINE.findall((ROOT / INCLUDE / name).read_text()):
        _append_after_included(included, ordered)
    ordered.append(name)


def declarations(name: str) -> str:
    """What cffi parses of one header."""
    text = _COMMENT.sub(" ", (ROOT / INCLUDE / name).read_text())
    return _PREPROCESSOR_LINE.sub("", text)


def _relative(folder: Path, pattern: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob(pattern))


ffi = FFI()
for header in headers():
    ffi.cdef(declarations(header))
ffi.set_source(
    "ustack._native",
    "".join(f'#include "{header}"\n' for header in headers()),
    sources=_relative(SOURCES, "*.c"),
    include_dirs=[INCLUDE.as_posix()],
    depends=_relative(INCLUDE, "ustack/*.h") + _relative(SOURCES, "*.h"),
    extra_compile_args=["-std=c11", "-O3", "-fvisibility=hidden"],
)
