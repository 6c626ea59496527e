"""Messages reach a real HTTP server and a real mail server; what is not taken is told, without any secret in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tidegate.infra.errors import NotificationError
from tidegate.infra.notifications.channels import CHANNELS, Message, check, send

KEY = base64.b64encode(b"k" * 32).decode()
MESSAGE = Message(
    id="ab12",
    event="released",
    time=1_700_000_000.0,
    title="digits-1 is released at endpoint digits",
    text="run: digits-1\nvalue: 0.97",
    facts={"run": "digits-1", "value": 0.97},
)


class Receiver(ThreadingHTTPServer):
    """Keeps what was posted; answers with `codes`, the last of them for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hooks/s3cret"
        self.codes, self.got = [200], list[tuple[dict[str, str], bytes]]()


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        codes = self.server.codes
        self.send_response(codes.pop(0) if len(codes) > 1 else codes[0])
        self.send_header("location", "/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_is_signed(receiver: Receiver) -> None:
    """As Standard Webhooks 1.0 has it: any of its libraries verifies this."""
    send("webhook", {"URL": receiver.url, "SIGNING_SECRET": f"whsec_{KEY}"}, MESSAGE)
    ((headers, body),) = receiver.got
    assert Message.model_validate_json(body) == MESSAGE
    assert headers["webhook-id"] == "ab12"
    signed = f"ab12.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"
    assert headers["content-type"] == "application/json"


def test_a_line_end_in_a_variable_counts_for_nothing(receiver: Receiver) -> None:
    send("webhook", {"URL": f"{receiver.url}\n", "SIGNING_SECRET": f"{KEY}\n"}, MESSAGE)
    assert receiver.got[0][0]["webhook-signature"].startswith("v1,")


def test_without_a_signing_secret_it_is_not_signed(receiver: Receiver) -> None:
    send("webhook", {"URL": receiver.url}, MESSAGE)
    assert "webhook-signature" not in receiver.got[0][0]


def test_slack_gets_no_mention(receiver: Receiver) -> None:
    send("slack", {"URL": receiver.url}, MESSAGE.model_copy(update={"text": "<!channel> & <lambda>"}))
    assert json.loads(receiver.got[0][1])["text"].endswith("&lt;!channel&gt; &amp; &lt;lambda&gt;")


def test_slack_and_teams(receiver: Receiver) -> None:
    for channel in ("slack", "teams"):
        send(channel, {"URL": receiver.url}, MESSAGE)
    slack, teams = (json.loads(body) for _, body in receiver.got)
    assert slack == {"text": f"*{MESSAGE.title}*\n{MESSAGE.text}"}
    (card,) = teams["attachments"]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert [block["text"] for block in card["content"]["body"]] == [MESSAGE.title, MESSAGE.text]


@pytest.mark.parametrize(
    ("code", "again"),
    [(404, False), (401, False), (302, False), (408, True), (429, True), (500, True), (503, True)],
)
def test_an_answer_that_is_none(receiver: Receiver, code: int, again: bool) -> None:
    receiver.codes = [code]
    with pytest.raises(
        NotificationError, match=rf"^127.0.0.1 answered {code}; expected 200 to 299$"
    ) as error:
        send("slack", {"URL": receiver.url}, MESSAGE)
    assert error.value.again == again
    assert len(receiver.got) == 1  # a redirect is not followed


def test_nobody_there(receiver: Receiver) -> None:
    url = receiver.url.replace(str(receiver.server_address[1]), "9")
    with pytest.raises(NotificationError, match=r"^127.0.0.1 was not reached \(\w+\)") as error:
        send("webhook", {"URL": url}, MESSAGE)
    assert error.value.again
    assert "s3cret" not in str(error.value)


class Mailbox:
    """What a mail server took; it refuses the first ones with `refuse`."""

    def __init__(self) -> None:
        self.got: list[Envelope] = []
        self.refuse: list[str] = []
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        del server, session
        if self.refuse:
            return self.refuse.pop(0)
        self.got.append(envelope)
        return "250 taken"

    def login(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        del server, session, envelope, mechanism
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def mail(mailbox: Mailbox) -> Iterator[dict[str, str]]:
    """The variables for a real mail server."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free_port = probe.getsockname()[1]
    controller = Controller(
        mailbox,
        "127.0.0.1",
        free_port,
        authenticator=mailbox.login,
        auth_require_tls=False,
        auth_exclude_mechanism=(),
    )
    controller.start()
    yield {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(free_port),
        "FROM": "tidegate@example.com",
        "TO": "ann@example.com, bo@example.com",
    }
    controller.stop()


def test_mail(mail: dict[str, str], mailbox: Mailbox) -> None:
    send("email", mail, MESSAGE)
    (taken,) = mailbox.got
    assert taken.rcpt_tos == ["ann@example.com", "bo@example.com"]
    assert isinstance(taken.content, bytes)
    parsed = message_from_bytes(taken.content)
    assert (parsed["Subject"], parsed["From"]) == (MESSAGE.title, "tidegate@example.com")
    assert parsed["Message-ID"] == "<ab12@tidegate>"
    assert str(parsed.get_payload()).replace("\r\n", "\n").strip() == MESSAGE.text


def test_mail_with_a_login(mail: dict[str, str], mailbox: Mailbox) -> None:
    send("email", {**mail, "SMTP_USER": "ann", "SMTP_PASSWORD": "right"}, MESSAGE)
    assert mailbox.logins == [(b"ann", b"right")]
    assert len(mailbox.got) == 1
    with pytest.raises(NotificationError, match="answered 535") as error:
        send("email", {**mail, "SMTP_USER": "ann", "SMTP_PASSWORD": "wr0ng"}, MESSAGE)
    assert not error.value.again
    assert "wr0ng" not in str(error.value)


def test_mail_that_is_not_taken(mail: dict[str, str], mailbox: Mailbox) -> None:
    for answer, again in (("451 later", True), ("554 never", False)):
        mailbox.refuse = [answer]
        with pytest.raises(
            NotificationError, match=f"answered {answer[:3]}; expected it to take the mail"
        ) as error:
            send("email", mail, MESSAGE)
        assert error.value.again == again


@pytest.mark.parametrize(
    ("channel", "variables", "words"),
    [
        ("webhook", {}, "the secret has no URL; expected the address to post to; add a line URL="),
        ("slack", {"URL": "ftp://host/s3cret"}, "URL is no http:// or https:// address"),
        *(
            ("teams", {"URL": url}, "URL is no http:// or https:// address")
            for url in (
                "s3cret",
                "http://host/s3cret\u00fc",
                "http://[::1/s3cret",
                "http://a..b/s3cret",
                "http://host:s3cret/",
                "http://host/s3 cret",
                "http://s3cret@host/",
            )
        ),
        ("webhook", {"URL": "https://host", "SIGNING_SECRET": "s3cret\u00e9"}, "no base64 of 24 to 64 bytes"),
        ("email", {"SMTP_HOST": "host", "FROM": "s3cret", "TO": "d@e.f"}, "FROM is no address"),
        ("email", {"SMTP_HOST": "host", "FROM": "a@b.c", "TO": "d@e.f, s3cret"}, "TO is no address"),
        ("email", {"SMTP_HOST": "a..s3cret", "FROM": "a@b.c", "TO": "d@e.f"}, "SMTP_HOST is no name"),
        ("email", {"SMTP_HOST": "host", "SMTP_PORT": "\u0663"}, "SMTP_PORT is no port"),
        ("webhook", {"URL": "https://host", "SIGNING_SECRET": "s3cret"}, "no base64 of 24 to 64 bytes"),
        ("email", {"FROM": "a@b.c", "TO": "d@e.f"}, "the secret has no SMTP_HOST"),
        ("email", {"SMTP_HOST": "host", "FROM": "a@b.c"}, "the secret has no TO"),
        ("email", {"SMTP_HOST": "host", "FROM": "a@b.c\nBcc: s3cret", "TO": "d@e.f"}, "FROM is no address"),
        ("email", {"SMTP_HOST": "host", "SMTP_PORT": "s3cret"}, "SMTP_PORT is no port"),
    ],
)
def test_variables_that_cannot_be_used(channel: str, variables: dict[str, str], words: str) -> None:
    with pytest.raises(NotificationError, match=words) as error:
        check(channel, variables)
    assert "s3cret" not in str(error.value)


def test_every_channel_is_checked() -> None:
    for channel in CHANNELS:
        with pytest.raises(NotificationError, match="the secret has no"):
            check(channel, {})
