"""The audit trail: written with the change, append-only, sealed into a chain that proves itself."""

import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from portal import audit
from portal.models import AuditEntry, Service

pytestmark = pytest.mark.django_db
BY = audit.Automaton("test")


def _entry(label: str = "shop") -> AuditEntry:
    service = Service.objects.create(key=label)
    return audit.record("service.created", service, by=BY, after={"key": label}, because="why not")


def test_an_entry_says_who_did_what_to_what_and_why() -> None:
    entry = _entry()
    entry.refresh_from_db()
    assert (entry.actor, entry.verb, entry.object_type, entry.object_label, entry.because) == (
        "test", "service.created", "portal.service", "shop", "why not",
    )  # fmt: skip
    assert entry.position is None


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE portal_auditentry SET because = 'other'",
        "UPDATE portal_auditentry SET actor = 'x', position = 9, digest = 'd'",
        "DELETE FROM portal_auditentry",
    ],
)
def test_sql_cannot_rewrite_it(sql: str) -> None:
    _entry()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


def test_sql_cannot_empty_it() -> None:
    with connection.cursor() as cursor:
        # The test database switches this one trigger off so that tests can be cleaned up after.
        cursor.execute("ALTER TABLE portal_auditentry ENABLE TRIGGER portal_auditentry_no_truncate")
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            cursor.execute("TRUNCATE portal_auditentry")
        cursor.execute("ALTER TABLE portal_auditentry DISABLE TRIGGER portal_auditentry_no_truncate")


def test_a_sealed_entry_cannot_be_sealed_again() -> None:
    _entry()
    audit.seal()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE portal_auditentry SET position = 7, digest = 'x'")


def test_sealing_gives_positions_without_gaps_and_the_chain_proves() -> None:
    for name in ("a", "b", "c"):
        _entry(name)
    assert audit.seal() == 3
    _entry("d")
    assert audit.seal() == 1
    assert audit.seal() == 0
    assert list(AuditEntry.objects.order_by("position").values_list("position", flat=True)) == [1, 2, 3, 4]
    assert audit.broken_links() == []
    call_command("verify_audit")


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE portal_auditentry SET because = 'changed' WHERE position = 2",
        "DELETE FROM portal_auditentry WHERE position = 2",
        'UPDATE portal_auditentry SET after = \'{"key": "z"}\' WHERE position = 1',
    ],
)
def test_whoever_gets_past_the_trigger_is_found_out(tamper: str) -> None:
    for name in ("a", "b", "c"):
        _entry(name)
    audit.seal()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE portal_auditentry DISABLE TRIGGER portal_auditentry_append_only")
        cursor.execute(tamper)
        cursor.execute("ALTER TABLE portal_auditentry ENABLE TRIGGER portal_auditentry_append_only")
    assert audit.broken_links()
    with pytest.raises(CommandError, match="tampered"):
        call_command("verify_audit")


@pytest.mark.django_db(transaction=True)
def test_sealers_at_once_seal_each_entry_once() -> None:
    for index in range(50):
        _entry(f"s{index}")
    done: list[int] = []

    def work() -> None:
        done.append(audit.seal())
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 50
    assert audit.broken_links() == []
