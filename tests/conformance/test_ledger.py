"""The ledgers of docs/conformance say what the tests say, requirement by requirement."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.ledger import marked_tests, read_ledgers

LEDGERS = read_ledgers()
PROOFS = marked_tests()
ENTRIES = [
    pytest.param(document, entry, id=f"{document}-{entry['id']}")
    for document, ledger in LEDGERS.items()
    for entry in ledger["requirement"]
]
WANTED = {
    "RFC768", "RFC791", "RFC1122", "RFC4443", "RFC5681", "RFC5961", "RFC6191", "RFC6298", "RFC6675", "RFC7323",
    "RFC8200", "RFC8985", "RFC9293", "RFC9438",
}  # fmt: skip
RFC9293_IDS = (
    {f"MUST-{number}" for number in range(1, 70)}
    | {f"SHLD-{number}" for number in range(1, 32)}
    | {f"MAY-{number}" for number in range(1, 19)}
    | {"REC-1"}
)
NOT_APPLICABLE_MOST = 8


def test_every_promised_document_has_a_ledger() -> None:
    assert sorted(WANTED - LEDGERS.keys()) == []


def test_the_ledger_of_rfc_9293_has_each_requirement_once() -> None:
    identifiers = [entry["id"] for entry in LEDGERS["RFC9293"]["requirement"]]
    assert sorted(identifiers) == sorted(RFC9293_IDS)


def test_few_requirements_of_rfc_9293_are_said_not_to_apply() -> None:
    excused = [entry["id"] for entry in LEDGERS["RFC9293"]["requirement"] if "does_not_apply" in entry]
    assert len(excused) <= NOT_APPLICABLE_MOST, excused


@pytest.mark.parametrize(("document", "entry"), ENTRIES)
def test_an_entry_has_a_section_words_and_either_tests_or_a_reason(document: str, entry: dict[str, Any]) -> None:
    assert entry["section"].strip()
    assert entry["text"].strip()
    assert bool(entry.get("tests")) != bool(entry.get("does_not_apply")), "either tests or a reason, not both"
    assert entry.get("tests", []) == PROOFS.get((document, entry["id"]), []), "run tools/ledger"


@pytest.mark.parametrize("document", LEDGERS)
def test_the_entries_of_a_document_have_each_their_own_name(document: str) -> None:
    identifiers = [entry["id"] for entry in LEDGERS[document]["requirement"]]
    assert len(identifiers) == len(set(identifiers))


def test_every_mark_of_a_kept_document_names_an_entry() -> None:
    known = {(document, entry["id"]) for document, ledger in LEDGERS.items() for entry in ledger["requirement"]}
    strays = [key for key in PROOFS if key[0] in LEDGERS and key not in known]
    assert strays == []
