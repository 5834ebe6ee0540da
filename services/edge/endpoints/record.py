"""`/record` (shell): the last seconds of a stream, as a download."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlencode

from services.contract.errors import FieldError
from services.contract.spec import StreamSpec
from services.edge.access.auth import TokenChecker
from services.edge.access.refusal import Refusal
from services.edge.endpoints.get_endpoint import GetEndpoint, check_token, parsed
from services.edge.endpoints.query import spec_from_query
from services.edge.endpoints.recorder import MEDIA_TYPES, BusyError, FileFormat, NotPlayingError, Recorder
from services.edge.endpoints.request import Request
from services.edge.endpoints.response import HttpError, send_body
from services.edge.fanout.hub import Hub
from services.edge.stream.ring import HISTORY_S
from services.edge.wire.asgi import Receive, Send

DEFAULT_S: Final = 15
"""Seconds of a recording if the query does not say."""
_RETRY_AFTER_S: Final = 1
"""A file is made within a second."""
_MAX_FIELDS: Final = 32
"""Fields of a query: far more than there are names."""


class RecordEndpoint(GetEndpoint):
    """Serves a file of the last seconds of a stream that plays on this edge.

    Args:
        hub: has the streams.
        tokens: checks tokens; None: no token is needed.
    """

    def __init__(self, hub: Hub, *, tokens: TokenChecker | None) -> None:
        self._hub = hub
        self._tokens = tokens
        self._recorder = Recorder(hub)

    async def get(self, request: Request, _receive: Receive, send: Send) -> None:
        """Answer with the file."""
        spec, seconds, format_ = parsed(parse_query, request)
        check_token(self._tokens, request, spec, self._hub.count_refusal)
        try:
            data = await self._recorder.record(spec, seconds, format_)
        except NotPlayingError as error:
            text = "this stream has no listener here, so there is nothing to record; listen to it first"
            raise HttpError(404, text) from error
        except BusyError as error:
            refusal = Refusal(503, "overload", "other recordings are being made; try again", _RETRY_AFTER_S)
            raise HttpError.from_refusal(refusal) from error
        disposition = f'attachment; filename="auralis-{spec.stream_id}.{format_}"'.encode()
        headers = [(b"content-disposition", disposition)]
        await send_body(send, MEDIA_TYPES[format_], data, headers, head=request.method == "HEAD")

    def stop(self) -> None:
        """Make no more files; idempotent."""
        self._recorder.stop()


def parse_query(query_string: str) -> tuple[StreamSpec, int, FileFormat]:
    """The stream, the seconds and the format that `seconds=10&format=opus&key=D` names.

    Raises:
        FieldError: a field is unknown or has a value that cannot be used.
    """
    spec_fields: list[tuple[str, str]] = []
    seconds, format_ = str(DEFAULT_S), "wav"
    for name, value in parse_qsl(query_string, keep_blank_values=True, max_num_fields=_MAX_FIELDS):
        if name == "seconds":
            seconds = value
        elif name == "format":
            format_ = value
        else:
            spec_fields.append((name, value))
    # The length is checked first, because converting a number of many digits is slow.
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 6 and 1 <= int(seconds) <= HISTORY_S):
        raise FieldError("seconds", seconds, f"a whole number from 1 to {HISTORY_S}")
    if format_ not in ("wav", "opus"):
        raise FieldError("format", format_, "wav or opus")
    return spec_from_query(urlencode(spec_fields)), int(seconds), "opus" if format_ == "opus" else "wav"
