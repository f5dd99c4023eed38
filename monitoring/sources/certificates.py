"""How long a server's certificate lasts."""

from typing import Final

from cryptography import x509

from portal import outgoing

# By the names of blackbox_exporter, and one that a threshold can be set on: a bound knows no clock.
EXPIRY: Final = "probe_ssl_earliest_cert_expiry"
LEFT: Final = "probe_ssl_cert_expires_in_seconds"


def measured(der: bytes | None, *, time: float) -> dict[str, float]:
    """When it expires (Unix seconds), and in how many seconds after `time`; negative when it has."""
    if not der:
        return {}
    try:
        end = x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp()
    except ValueError:
        return {}
    return {EXPIRY: end, LEFT: end - time}


def look(host: str, port: int, *, timeout: float) -> bytes | None:
    """The certificate of a server that is not trusted: it is looked at, nothing is said to it."""
    deadline = outgoing.Deadline.within(timeout)
    try:
        with (
            outgoing.connect(host, port, deadline=deadline) as raw,
            outgoing.secure(raw, host, deadline=deadline, verify=False) as tls,
        ):
            return tls.getpeercert(binary_form=True)
    except (OSError, ValueError, outgoing.Blocked):
        return None
