"""A session: one SMTP connection, ready for transactions. Connecting, EHLO and TLS are the standard library's."""

from __future__ import annotations

import contextlib
import errno
import smtplib
import socket
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Self, cast

from postroom import clock
from postroom.errors import InvalidSettings
from postroom.reply import Reply
from postroom.settings import Settings
from postroom_worker.outcome import Phase, Silence
from postroom_worker.relay import EHLO_NAME, Relay, Security
from postroom_worker.smtp import auth
from postroom_worker.smtp.connecting import connect
from postroom_worker.smtp.dialogue import Dialogue
from postroom_worker.smtp.wire import SessionFailed, Wire

_AUTH_STEPS = 4
_COMMAND_MAX = 2048  # octets; RFC 5321 §4.5.3.1.4 has 512, to which extensions add
_AUTH_MAX = 12_288  # octets; RFC 4954 §4
_SECRET_SHOWN_BY = 16  # characters
_QUIT_S = 5.0
_LACKING = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""What this machine has not enough of says nothing of the relay, which other machines may reach."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How we behave in every session: our name, whom we trust, and how long we wait."""

    ehlo_name: str
    ca_file: str
    certificate: str
    connect_s: float
    timeouts_s: Mapping[Phase, float]
    """How long we wait in each phase (RFC 5321 §4.5.3.2); for the greeting, that is `CONNECT`."""

    @classmethod
    def of(cls, settings: Settings) -> Manner:
        """Return what the settings say.

        Raises:
            InvalidSettings: the name cannot stand in EHLO.
        """
        ehlo_name = settings.ehlo_name or _own_name()
        if not EHLO_NAME.fullmatch(ehlo_name):
            raise InvalidSettings("POSTROOM_EHLO_NAME has to be a host name, or an address in brackets")
        timeouts_s = dict.fromkeys(Phase, settings.command_timeout_s) | {
            Phase.CONNECT: settings.greeting_timeout_s,
            Phase.MAIL: settings.mail_timeout_s,
            Phase.RCPT: settings.rcpt_timeout_s,
            Phase.DATA: settings.data_timeout_s,
            Phase.BODY: settings.body_timeout_s,
            Phase.CONTENT: settings.content_timeout_s,
        }
        return cls(ehlo_name, settings.ca_file, settings.certificate, settings.connect_timeout_s, timeouts_s)

    def towards(self, relay: Relay) -> Manner:
        """Return how we behave towards one relay, which may have something of its own."""
        return replace(
            self,
            ehlo_name=relay.ehlo_name or self.ehlo_name,
            ca_file=relay.ca_file or self.ca_file,
            certificate=relay.certificate or self.certificate,
        )


class _Connection(smtplib.SMTP):
    """smtplib, but every reply is read within bounds of time and size: it calls this wherever it reads one."""

    phase = Phase.CONNECT

    def __init__(self, manner: Manner, implicit_tls: ssl.SSLContext | None, dialogue: Dialogue | None) -> None:
        self.manner = manner
        self.dialogue = dialogue
        self.implicit_tls = implicit_tls
        super().__init__(local_hostname=manner.ehlo_name, timeout=manner.connect_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        sock = connect(host, port, timeout)
        if self.implicit_tls is None:
            return sock
        self.phase = Phase.STARTTLS
        sock.settimeout(self.manner.timeouts_s[self.phase])  # for the whole handshake
        tls = self.implicit_tls.wrap_socket(sock, server_hostname=host)
        self.phase = Phase.CONNECT
        return tls

    @property
    def wire(self) -> Wire:
        """The wire over the present socket; smtplib forgets its file whenever it changes the socket."""
        if self.file is None:
            self.file = Wire(cast("socket.socket", self.sock))
        return cast("Wire", self.file)

    def getreply(self) -> tuple[int, bytes]:
        timeout_s = self.manner.timeouts_s[self.phase]
        reply, lines = self.wire.read_lines(self.phase, timeout_s)
        if self.dialogue:
            self.dialogue.relay_said(reply, lines)
        if self.phase is not Phase.EHLO:
            if self.phase is Phase.STARTTLS:
                if self.wire.has_leftover:
                    # Whoever wrote this may be no part of the encrypted session: it is never believed (CVE-2011-0411).
                    raise SessionFailed(Phase.STARTTLS, Silence.MALFORMED, "more than the reply came in the clear")
                self.wire.sock.settimeout(timeout_s)  # for the whole handshake
            return reply.code, str(reply).encode()
        return reply.code, "\n".join(lines).encode()

    def send(self, s: bytes | str) -> None:  # type: ignore[override]
        octets = s.encode("ascii") if isinstance(s, str) else s
        if self.dialogue:
            self.dialogue.we_said(octets)
        self.wire.write(octets, self.phase, self.manner.timeouts_s[self.phase])


class Session:
    """One SMTP connection, greeted, encrypted and authenticated as its relay asks."""

    def __init__(self, relay: Relay, manner: Manner, dialogue: Dialogue | None = None) -> None:
        """Connect.

        Args:
            relay: where to.
            manner: how we behave there.
            dialogue: what is told of the session.

        Raises:
            SessionFailed: the relay cannot be reached, or does not let us in.
            OSError: this machine lacks what it takes.
        """
        self.relay = relay
        self.manner = manner.towards(relay)
        self.letters = 0
        """Transactions begun in it."""
        self.letters_to: Counter[str] = Counter()
        """By recipient domain, where the relay has limits for domains."""
        self.sent = 0
        """Octets written in it that the connection took."""
        self.knows_bdat = False
        """True once it took a chunk: that it is offered does not say that it is known (RFC 3030)."""
        self.used_s = clock.steady_s()
        """When it was last used, by the steady clock."""
        self.is_usable = True
        """False once it is out of step: then it serves no further letter."""
        context = _tls(self.manner) if relay.security is not Security.NONE else None
        self._smtp = _Connection(self.manner, context if relay.security is Security.TLS else None, dialogue)
        try:
            self._begin(context)
        except SessionFailed:
            self.close()
            raise
        except ssl.SSLError as error:
            self.close()
            raise SessionFailed(Phase.STARTTLS, Silence.TLS_ERROR, _reason(error)) from None
        except (OSError, smtplib.SMTPException, ValueError) as error:
            self.close()
            if getattr(error, "errno", None) in _LACKING:
                raise
            what = f"{relay.host}:{relay.port}: {error}"
            raise SessionFailed(self._smtp.phase, _silence(self._smtp.phase, error), what) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.quit()

    def _begin(self, context: ssl.SSLContext | None) -> None:
        smtp, relay = self._smtp, self.relay
        smtp._host = relay.host  # type: ignore[attr-defined]  # noqa: SLF001  (the name that starttls() verifies)
        self._expect(Phase.CONNECT, smtp.connect(relay.host, relay.port), 220)
        self._ehlo()
        if relay.security is Security.STARTTLS:
            if not smtp.has_extn("starttls"):
                raise SessionFailed(Phase.STARTTLS, Silence.NOT_OFFERED, "and this relay's settings require it")
            smtp.phase = Phase.STARTTLS
            try:
                smtp.starttls(context=context)
            except smtplib.SMTPResponseException as error:
                self._expect(Phase.STARTTLS, (error.smtp_code, cast("bytes", error.smtp_error)), 220)
            self._ehlo()
        if relay.user:
            self._authenticate()

    def _expect(self, phase: Phase, answer: tuple[int, bytes], code: int) -> None:
        if answer[0] != code:
            raise SessionFailed(phase, Reply.of(answer[0], [answer[1].decode("utf-8", "replace")[4:]]))

    def _ehlo(self) -> None:
        smtp = self._smtp
        smtp.phase = Phase.EHLO
        code, text = smtp.ehlo()
        if code in (500, 502, 504):  # a server of before 1995: no extensions (RFC 5321 §3.2)
            code, text = smtp.helo()
        if code != 250:
            raise SessionFailed(Phase.EHLO, Reply.of(code, text.decode("utf-8", "replace").splitlines()))

    def _authenticate(self) -> None:
        relay = self.relay
        offered = self.features.get("auth", "").upper().split()
        is_encrypted = relay.security is not Security.NONE
        mechanism = auth.choose(offered, encrypted=is_encrypted, by_token=bool(relay.token))
        if mechanism is None:
            raise SessionFailed(Phase.AUTH, Silence.NOT_OFFERED, f"offered: {' '.join(offered) or 'nothing'}")
        try:
            secret = auth.secret_of(relay, self.manner.connect_s)
        except auth.NoToken as error:
            raise SessionFailed(Phase.AUTH, Silence.NO_TOKEN, str(error)) from None
        respond = auth.responder(mechanism, relay, secret)
        line = auth.initial(mechanism, respond)
        for _ in range(_AUTH_STEPS):
            reply = self._say_secret(line, secret)
            if reply.code != 334:
                break
            line = auth.encoded(respond(auth.challenge_of(reply.text)))
        if reply.code != 235:
            raise SessionFailed(Phase.AUTH, reply)

    def _say_secret(self, line: str, secret: str) -> Reply:
        """As `ask`; but a relay that repeats what it was told, as some do, is not quoted."""
        wire, timeout_s = self._smtp.wire, self.manner.timeouts_s[Phase.AUTH]
        if self.dialogue:
            self.dialogue.credentials_went(" ".join(line.split(" ")[:2]) if line.startswith("AUTH ") else "")
        wire.write(command(line, _AUTH_MAX), Phase.AUTH, timeout_s)
        try:
            reply = wire.read_reply(Phase.AUTH, timeout_s)
        except SessionFailed as failed:
            raise SessionFailed(Phase.AUTH, failed.answer.met) from None
        response = line.split(" ", 2)[2] if line.count(" ") > 1 else line
        # By its beginning: what it repeats may be cut.
        beginnings = [each[:_SECRET_SHOWN_BY] for each in (response, secret) if each]
        if any(each in reply.text for each in beginnings):
            reply = Reply(reply.code, "", reply.enhanced)
        if self.dialogue:
            self.dialogue.credentials_answered(reply)
        return reply

    @property
    def dialogue(self) -> Dialogue | None:
        """What is told of the session; to be set only while it is idle."""
        return self._smtp.dialogue

    @dialogue.setter
    def dialogue(self, dialogue: Dialogue | None) -> None:
        self._smtp.dialogue = dialogue

    @property
    def certificate_ends_s(self) -> float | None:
        """When the relay's certificate runs out, in seconds since 1970; None without TLS."""
        sock = self._smtp.sock
        if not isinstance(sock, ssl.SSLSocket):
            return None
        return ssl.cert_time_to_seconds(str((sock.getpeercert() or {})["notAfter"]))

    @property
    def features(self) -> dict[str, str]:
        """The extensions that it offers, by keyword in lower case, with their parameters."""
        return self._smtp.esmtp_features

    def write(self, octets: bytes | bytearray, phase: Phase) -> None:
        """Write octets as they are.

        Raises:
            SessionFailed: the connection was lost, or they were not taken in time; `sent` says how many were.
        """
        wire = self._smtp.wire
        if self.dialogue:
            self.dialogue.we_said(octets)
        try:
            wire.write(octets, phase, self.manner.timeouts_s[phase])
        finally:
            self.sent += wire.written

    def read(self, phase: Phase) -> Reply:
        """Read the next reply, within the time of its phase.

        Raises:
            SessionFailed: there is none in time, the connection was lost, or it cannot be read.
        """
        reply, lines = self._smtp.wire.read_lines(phase, self.manner.timeouts_s[phase])
        if self.dialogue:
            self.dialogue.relay_said(reply, lines)
        return reply

    def ask(self, phase: Phase, line: str) -> Reply:
        """Write one command and read its reply: as `write` and `read`."""
        self.write(command(line), phase)
        return self.read(phase)

    @property
    def has_leftover(self) -> bool:
        """True when it said something that nobody asked for, or hung up: whose answer comes next is unknown."""
        return self._smtp.wire.has_leftover

    def is_alive(self) -> bool:
        """Ask whether it still serves us (RSET); never raises."""
        try:
            return not self.has_leftover and self.ask(Phase.IDLE, "RSET").code == 250 and not self.has_leftover
        except SessionFailed:
            return False

    def quit(self) -> None:
        """Say QUIT and close. Whatever it answers, or not: what was accepted stays accepted."""
        if self.is_usable:
            if self.dialogue:
                self.dialogue.we_said(command("QUIT"))
            with contextlib.suppress(SessionFailed):
                self._smtp.wire.write(command("QUIT"), Phase.IDLE, _QUIT_S)
                self._smtp.wire.read_reply(Phase.IDLE, _QUIT_S)
        self.close()

    def close(self) -> None:
        """Close without a word."""
        self.is_usable = False
        self._smtp.close()


def command(line: str, limit: int = _COMMAND_MAX) -> bytes:
    """Return a command as it goes over the wire: the one place where every argument of a command is checked.

    Raises:
        ValueError: it holds a control character, or is longer than the limit.
    """
    octets = line.encode("utf-8")
    if not line.isprintable() or len(octets) > limit:
        raise ValueError(f"a command must not hold controls, nor be longer than {limit} octets")
    return octets + b"\r\n"


def _tls(manner: Manner) -> ssl.SSLContext:
    """What we believe, and show: read anew for each session, so that a file that was replaced is seen."""
    try:
        context = ssl.create_default_context(cafile=manner.ca_file or None)
        if manner.certificate:
            context.load_cert_chain(manner.certificate)
    except OSError as error:
        what = f"POSTROOM_CA_FILE or POSTROOM_CERTIFICATE, or those of this relay, cannot be used: {error}"
        raise SessionFailed(Phase.STARTTLS, Silence.TLS_ERROR, what) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _silence(phase: Phase, error: Exception) -> Silence:
    if phase is Phase.CONNECT:
        is_unknown = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
        return Silence.NO_HOST if is_unknown else Silence.NO_CONNECTION
    return Silence.TIMEOUT if isinstance(error, TimeoutError) else Silence.CONNECTION_LOST


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    return error.reason or str(error)


@cache
def _own_name() -> str:
    """The name for EHLO: the host's, when it has one with a dot; else its address in brackets (RFC 5321 §4.1.4)."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    return "[127.0.0.1]"
