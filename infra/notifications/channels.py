"""The channels that a message is sent through, each with the variables of its secret.

A webhook is signed as Standard Webhooks 1.0 says, which every language has a library to verify for: HMAC-SHA256 of
`id.timestamp.body` in the header `webhook-signature`. A receiver sees by `webhook-id` that a message came twice.
"""

import base64
import hashlib
import hmac
import json
import re
import smtplib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from tidegate.infra.errors import NotificationError

TIMEOUT_S = 5.0
PREFIX = "whsec_"  # of a signing secret, before its base64
SMTPS, SUBMISSION = 465, 587
AGAIN = (408, 425, 429)  # with 5xx, the answers after which the same message may be taken later
Variables = Mapping[str, str]


class Message(BaseModel):
    """What is told.

    Attributes:
        id: the same for the same event, however often it is sent.
        event: such as "released".
        time: of the event, seconds since the epoch.
        title: one line.
        text: a few lines for people.
        facts: for programs; JSON values.
    """

    model_config = ConfigDict(frozen=True)
    id: str
    event: str
    time: float
    title: str
    text: str
    facts: dict[str, Any]


def send(channel: str, variables: Variables, message: Message) -> None:
    """Send a message once.

    Args:
        channel: a key of `CHANNELS`.
        variables: of its secret.
        message: to send.

    Raises:
        NotificationError: it was not taken; `again` says whether it may be later. No variable's value is in it.
    """
    CHANNELS[channel](_stripped(variables), message)


def check(channel: str, variables: Variables) -> None:
    """Raise NotificationError if a channel's variables are missing or cannot be used; nothing is sent."""
    variables = _stripped(variables)
    if channel == "email":
        _mail_server(variables)
        _mail(variables, Message(id="check", event="", time=0.0, title="", text="", facts={}))
        return
    _url(variables)
    if channel == "webhook":
        _signing_key(variables)


def _stripped(variables: Variables) -> Variables:
    """A Secret that was made from a file has a line's end in each value."""
    return {name: value.strip() for name, value in variables.items()}


def _webhook(variables: Variables, message: Message) -> None:
    body = message.model_dump_json().encode()
    sent = str(int(time.time()))
    headers = {"webhook-id": message.id, "webhook-timestamp": sent}
    key = _signing_key(variables)
    if key is not None:
        signed = hmac.new(key, f"{message.id}.{sent}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    _post(_url(variables), body, headers)


def _slack(variables: Variables, message: Message) -> None:
    _post(
        _url(variables),
        json.dumps({"text": f"*{_plain(message.title)}*\n{_plain(message.text)}"}).encode(),
        {},
    )


def _plain(text: str) -> str:
    """For Slack, which reads <…> as a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(variables: Variables, message: Message) -> None:
    """As a workflow of Teams takes it: a message with an adaptive card."""
    blocks = [
        {"type": "TextBlock", "text": message.title, "weight": "bolder", "wrap": True},
        {"type": "TextBlock", "text": message.text, "wrap": True},
    ]
    card = {"type": "AdaptiveCard", "version": "1.4", "body": blocks}
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    _post(_url(variables), json.dumps({"type": "message", "attachments": [attachment]}).encode(), {})


def _email(variables: Variables, message: Message) -> None:
    mail = _mail(variables, message)
    host, port, user = _mail_server(variables)
    try:
        with _connected(host, port) as server:
            encrypted = port == SMTPS or _start_tls(server)
            if user and not encrypted and host not in ("localhost", "127.0.0.1", "::1"):
                raise NotificationError(
                    f"the mail server {host} has no STARTTLS, and a password would be sent to it in the clear; "
                    "expected an encrypted connection; use port 465, or leave SMTP_USER out"
                )
            if user:
                server.login(user, variables.get("SMTP_PASSWORD", ""))
            server.send_message(mail)
    except smtplib.SMTPResponseException as error:
        words = f"the mail server {host} answered {error.smtp_code}; expected it to take the mail"
        raise NotificationError(words, again=400 <= error.smtp_code < 500) from None
    except (OSError, smtplib.SMTPException) as error:
        words = f"the mail server {host}, port {port}: {type(error).__name__}; expected it to take the mail"
        raise NotificationError(words, again=True) from None


def _mail(variables: Variables, message: Message) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["Message-ID"] = message.title, f"<{message.id}@tidegate>"
    for name in ("FROM", "TO"):
        addresses = _needed(variables, name, "an address such as ml@example.com")
        try:
            mail[name.title()] = addresses
            good = all(entry.username and entry.domain for entry in mail[name.title()].addresses)
        except (ValueError, IndexError):  # the second by the header's parser, for some characters
            good = False
        if not good:
            raise NotificationError(f"{name} is no address; expected one such as ml@example.com; correct it")
    mail.set_content(message.text)
    return mail


CHANNELS: dict[str, Callable[[Variables, Message], None]] = {
    "webhook": _webhook,
    "slack": _slack,
    "teams": _teams,
    "email": _email,
}


def _connected(host: str, port: int) -> smtplib.SMTP:
    if port == SMTPS:
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=TIMEOUT_S)


def _start_tls(server: smtplib.SMTP) -> bool:
    server.ehlo()
    if not server.has_extn("starttls"):
        return False
    server.starttls(context=ssl.create_default_context())
    return True


def _mail_server(variables: Variables) -> tuple[str, int, str]:
    host = _needed(variables, "SMTP_HOST", "the mail server's name")
    port = variables.get("SMTP_PORT", str(SUBMISSION))
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise NotificationError(
            "SMTP_PORT is no port; expected a number from 1 to 65535, such as 587; correct it"
        )
    if not _is_host(host):
        raise NotificationError(
            "SMTP_HOST is no name of a machine; expected one such as smtp.example.com; correct it"
        )
    return host, int(port), variables.get("SMTP_USER", "")


def _is_host(name: str | None) -> bool:
    try:
        return bool(name) and bool(str(name).encode("idna")) and not re.search(r"[\s@/]", str(name))
    except UnicodeError:
        return False


def _url(variables: Variables) -> str:
    url = _needed(variables, "URL", "the address to post to")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and _is_host(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url or "@" in parts.netloc:
        raise NotificationError(
            "URL is no http:// or https:// address of plain letters, without a user; expected one; correct it"
        )
    return url


def _signing_key(variables: Variables) -> bytes | None:
    """The key that signs; None where messages are not signed."""
    secret = variables.get("SIGNING_SECRET")
    if secret is None:
        return None
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        raise NotificationError(
            f"SIGNING_SECRET is no base64 of 24 to 64 bytes; expected {PREFIX} and what `openssl rand -base64 32` "
            "prints; write it anew"
        )
    return key


def _needed(variables: Variables, name: str, what: str) -> str:
    if not variables.get(name):
        raise NotificationError(f"the secret has no {name}; expected {what}; add a line {name}=…")
    return variables[name]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """A signed message goes to nobody but the one it was meant for."""
        del args


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """POST JSON; an address may hold a secret, so only its host is ever told."""
    host = urlsplit(url).hostname
    named = {"content-type": "application/json", "user-agent": "tidegate", **headers}
    request = urllib.request.Request(url, body, named, method="POST")  # http or https, see `_url`
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        again = error.code in AGAIN or error.code >= 500
        raise NotificationError(f"{host} answered {error.code}; expected 200 to 299", again=again) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        words = f"{host} was not reached ({type(reason).__name__}); expected it to take a POST"
        raise NotificationError(words, again=True) from None
