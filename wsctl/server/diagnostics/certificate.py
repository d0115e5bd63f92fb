"""The check whether clients will accept the certificate, and for how long."""

import ssl
import time
from dataclasses import dataclass
from typing import Any

from wsctl.server.diagnostics.finding import Finding, error, ok, warning

NAME = "certificate"

DAY = 86400.0

RENEWAL_DUE = 14 * DAY
"""Seconds before its end from which on a certificate is warned of. Certbot renews 30 days before the end:
where half of these have passed, nothing renews."""

RENEWAL_PART = 1 / 3
"""The part of a certificate's life that counts in place of `RENEWAL_DUE` where it is shorter: certificates of
six days are renewed at half of theirs."""

NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL (X509_VERIFY_PARAM_set_flags(3)): with it also the dates of a
certificate that has expired can be read."""

MISMATCHES = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
"""OpenSSL's reasons for refusing a key of another certificate; the last where the key is of another kind as
well."""

_WRITTEN = "%Y-%m-%d"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate: `since` and `until` are Unix seconds, `names` those under which clients may reach the
    server."""

    since: float
    until: float
    names: tuple[str, ...]


class UnusableCertificate(Exception):
    """The error that no server can use these files; the text says why, and `fix` what to do."""

    def __init__(self, text: str, fix: str) -> None:
        super().__init__(text)
        self.fix = fix


def check_certificate(certfile: str, keyfile: str | None, now: float | None = None) -> Finding:
    """Check a certificate and its key; `now` is in Unix seconds, None for the present time."""
    try:
        return assess(read_certificate(certfile, keyfile), time.time() if now is None else now)
    except UnusableCertificate as failure:
        return error(NAME, str(failure), failure.fix)


def assess(found: Certificate, now: float) -> Finding:
    """Assess a certificate at the moment `now`, in Unix seconds."""
    until = time.strftime(_WRITTEN, time.gmtime(found.until))
    left = found.until - now
    if left < 0:
        return error(NAME, f"expired on {until}", "renew it, then 'wsctl upgrade'")
    if now < found.since:
        since = time.strftime(_WRITTEN, time.gmtime(found.since))
        return error(NAME, f"not valid before {since}", "wait for that day, or set this machine's clock")
    if not found.names:
        text = "it names no server in subjectAltName, and clients look nowhere else (RFC 9525)"
        return error(NAME, text, "have it made anew with the names that clients use")
    text = f"valid until {until} ({int(left / DAY)} d left), for {', '.join(found.names)}"
    if left < min(RENEWAL_DUE, (found.until - found.since) * RENEWAL_PART):
        return warning(NAME, text, "renew it, then 'wsctl upgrade'; see why nothing renewed it before")
    return ok(NAME, text)


def read_certificate(certfile: str, keyfile: str | None) -> Certificate:
    """Read a certificate as a client would see it.

    The one public way to a certificate's fields in the standard library is to be its client. So both sides of
    a handshake are in memory here, and the client trusts the certificate itself.

    Raises:
        UnusableCertificate: it cannot be read, has another key, or clients would refuse it.
    """
    server = _server_context(certfile, keyfile)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(certfile)
    client.verify_flags |= ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME)
    try:
        seen = _seen_by_client(server, client)
    except ssl.SSLError as failure:
        why = getattr(failure, "verify_message", None) or failure.reason or str(failure)
        raise UnusableCertificate(
            f"clients will refuse {certfile}: {why}", "have one made for TLS servers"
        ) from None
    names = tuple(f"{name}" for _, name in seen.get("subjectAltName", ()))
    since, until = (ssl.cert_time_to_seconds(seen[which]) for which in ("notBefore", "notAfter"))
    return Certificate(since, until, names)


def _server_context(certfile: str, keyfile: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certfile, keyfile, _no_password)
    except _Encrypted:
        name = keyfile or certfile
        text = f"the key in {name} has a password, which nobody could type"
        raise UnusableCertificate(text, f"openssl pkey -in {name} -out KEY writes it without one") from None
    except ssl.SSLError as failure:
        if failure.reason in MISMATCHES:
            text = f"{certfile} and {keyfile or 'its key'} do not belong together"
            raise UnusableCertificate(text, "give the key that the certificate was made for") from None
        text = f"{certfile} and its key are not what OpenSSL can read ({failure.reason or 'no PEM'})"
        beside = "" if keyfile else ", and --ssl-keyfile beside it"
        fix = f"give PEM files: the certificate first, then those that vouch for it{beside}"
        raise UnusableCertificate(text, fix) from None
    except OSError as failure:
        raise UnusableCertificate(*_explain_unreadable(certfile, keyfile, failure)) from None
    return context


class _Encrypted(Exception):
    pass


def _no_password() -> str:
    raise _Encrypted


def _explain_unreadable(certfile: str, keyfile: str | None, failure: OSError) -> tuple[str, str]:
    """Say which of the two files cannot be read, and what to do: the system does not say which."""
    for path in filter(None, (certfile, keyfile)):
        try:
            open(path, "rb").close()
        except OSError as found:
            text = f"{path}: {found.strerror}"
            return text, "correct --ssl-certfile and --ssl-keyfile, and let this user read them"
    return f"{certfile}: {failure.strerror}", "correct --ssl-certfile and --ssl-keyfile"


def _seen_by_client(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """Return the server's certificate as the client sees it."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for end in ends:
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                pass
    return ends[0].getpeercert() or {}
