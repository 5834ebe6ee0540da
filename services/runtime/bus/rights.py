"""What each service may do on the bus, as accounts of a nats-server. Pure.

Each service has an account of its own. JetStream sends its answer to any reply subject, whatever the sender of the
request may publish to: with one account for all, an edge deletes a stream by having the answer to a request sent to
`$JS.API.STREAM.DELETE.…`. An answer that crosses accounts stays in the account of its request, where no API listens.

The table is written to charts/auralis/files/bus-rights.json (scripts/bus-rights); the chart, `auralis up` and the
configurations in k8s/ use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.contract import subjects

SERVICES: Final = ("synthesis", "edge", "telemetry")
PLACEHOLDER: Final = "{%s}"
"""In the table, `{edge}` stands for the name of the edges' user."""

_STREAMS: Final = (subjects.RENDER_STREAM, subjects.AUDIO_STREAM)
_BUCKET: Final = f"KV_{subjects.POISON_BUCKET}"
_INFO: Final = tuple(f"$JS.API.STREAM.INFO.{stream}" for stream in _STREAMS)
_READS: Final = tuple(f"$JS.API.DIRECT.GET.{stream}" for stream in (subjects.AUDIO_STREAM, _BUCKET))
_ASKS: Final = tuple(f"auralis.render.*.{lane}.>" for lane in subjects.LANES)
_AUDIO: Final = "auralis.audio.*"


def account(service: str) -> str:
    """Name of a service's account."""
    return service.upper()


def bus_rights() -> dict[str, Any]:
    """Service -> its `jetstream`, `mappings`, `publish`, `subscribe`, `exports` and `imports`."""
    answers = f"_INBOX.{PLACEHOLDER % 'telemetry'}.*.*"
    rights: dict[str, Any] = {
        "synthesis": {
            "jetstream": True,
            "mappings": {},
            "publish": [
                _AUDIO,
                subjects.PRESENCE,
                # Workers keep the streams: without a worker there is nothing to put into them.
                *(
                    f"$JS.API.STREAM.{verb}.{stream}"
                    for stream in (*_STREAMS, _BUCKET)
                    for verb in ("INFO", "CREATE", "UPDATE", "DELETE")
                ),
                f"$JS.API.CONSUMER.CREATE.{subjects.RENDER_STREAM}.>",
                f"$JS.API.CONSUMER.MSG.NEXT.{subjects.RENDER_STREAM}.*",
                f"$JS.ACK.{subjects.RENDER_STREAM}.>",
                f"$JS.API.DIRECT.GET.{_BUCKET}",
                f"$KV.{subjects.POISON_BUCKET}.>",
                answers,
            ],
            "subscribe": [subjects.ROLL_CALL, subjects.SCRAPE],
            "exports": [
                *({"service": subject, "accounts": [account("edge")]} for subject in (*_ASKS, _READS[1])),
                # The blocks of a stream are several answers to one request.
                {"service": _READS[0], "accounts": [account("edge")], "response": "stream"},
                *({"service": subject, "accounts": [account("edge"), account("telemetry")]} for subject in _INFO),
                *({"stream": subject, "accounts": [account("edge")]} for subject in (_AUDIO, subjects.PRESENCE)),
                {"stream": answers, "accounts": [account("telemetry")]},
            ],
            "imports": [_stream("edge", subjects.ROLL_CALL), _stream("telemetry", subjects.SCRAPE)],
        },
        "edge": {
            "jetstream": False,
            "mappings": _mappings(*_INFO, *_READS),
            "publish": [*_mapped(*_INFO, *_READS), *_ASKS, subjects.ROLL_CALL, answers],
            "subscribe": [_AUDIO, subjects.PRESENCE, subjects.SCRAPE],
            "exports": [
                {"stream": subjects.ROLL_CALL, "accounts": [account("synthesis")]},
                {"stream": answers, "accounts": [account("telemetry")]},
            ],
            "imports": [
                *(_service("synthesis", subject) for subject in (*_ASKS, *_READS, *_INFO)),
                *(_stream("synthesis", subject) for subject in (_AUDIO, subjects.PRESENCE)),
                _stream("telemetry", subjects.SCRAPE),
            ],
        },
        "telemetry": {
            "jetstream": False,
            "mappings": _mappings(*_INFO),
            "publish": [*_mapped(*_INFO), subjects.SCRAPE, answers],
            "subscribe": [subjects.SCRAPE],
            "exports": [{"stream": subjects.SCRAPE, "accounts": [account("synthesis"), account("edge")]}],
            "imports": [
                *(_service("synthesis", subject) for subject in _INFO),
                *(_stream(service, answers) for service in ("synthesis", "edge")),
            ],
        },
    }
    for service in SERVICES:
        own = PLACEHOLDER % service
        rights[service]["subscribe"].append(f"_INBOX.{own}.>")
        # Builds from before the accounts know by a message to themselves that they are subscribed; they run beside
        # newer ones during an upgrade. Those receive the answers to their requests on deeper subjects.
        if service != "telemetry":
            rights[service]["publish"].append(f"_INBOX.{own}.*.*")
    return rights


def server_accounts(passwords: Mapping[str, str]) -> dict[str, Any]:
    """The accounts of a server whose users are named for the services, as its configuration has them.

    Args:
        passwords: service -> its password; a service without one has no account, as in a region without workers.
    """
    names = [account(service) for service in passwords]
    accounts: dict[str, Any] = {}
    for service, password in passwords.items():
        rights = _named(bus_rights()[service])
        accounts[account(service)] = {
            **({"jetstream": "enabled"} if rights["jetstream"] else {}),
            "users": [
                {
                    "user": service,
                    "password": password,
                    "permissions": {verb: {"allow": rights[verb]} for verb in ("publish", "subscribe")},
                }
            ],
            "mappings": rights["mappings"],
            "exports": [
                {**each, "accounts": [name for name in each["accounts"] if name in names]}
                for each in rights["exports"]
                if any(name in names for name in each["accounts"])
            ],
            "imports": [
                each for each in rights["imports"] if (each.get("stream") or each["service"])["account"] in names
            ],
        }
    return accounts


def _stream(service: str, subject: str) -> dict[str, Any]:
    return {"stream": {"account": account(service), "subject": subject}}


def _service(service: str, subject: str) -> dict[str, Any]:
    """An import of a service under the subject that a request for it is mapped to."""
    return {"service": {"account": account(service), "subject": subject}, "to": _outside(subject)}


def _outside(subject: str) -> str:
    """What `subject` of JetStream's API is called in an account without JetStream.

    There `$JS.API.…` itself is answered "not enabled for account", and a leaf node does not pass it on.
    """
    return subject.replace("$JS.API.", "auralis.jetstream.")


def _mappings(*api: str) -> dict[str, str]:
    return {subject: _outside(subject) for subject in api}


def _mapped(*api: str) -> list[str]:
    """Rights to `api`: the server judges a request after it has mapped it."""
    return [_outside(subject) for subject in api]


def _named(value: Any) -> Any:
    """`value` with the services' names in place of the placeholders."""
    if isinstance(value, str):
        for service in SERVICES:
            value = value.replace(PLACEHOLDER % service, service)
        return value
    if isinstance(value, dict):
        return {key: _named(each) for key, each in value.items()}
    return [_named(each) for each in value] if isinstance(value, list) else value
