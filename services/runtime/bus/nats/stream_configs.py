"""Configurations of streams, buckets and consumers, in the words of JetStream's API. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.contract import subjects
from services.runtime.bus.limits import MIB, BusLimits

CONSUMER_INACTIVE_S: Final = 60.0
"""Seconds after which the server removes a consumer without workers, as of an old revision."""

_NANO: Final = 1_000_000_000
_UNLIMITED: Final = {"max_consumers": -1, "max_msgs": -1, "max_msg_size": -1, "compression": "none"}
"""What a server writes for fields that were not set and whose neutral value is not empty."""
_OF_THE_OPERATOR: Final = frozenset({"metadata", "description", "placement"})
"""Fields that change nothing about what a stream does with messages."""


def render_stream(limits: BusLimits) -> dict[str, Any]:
    """RENDER: the work queue of blocks to render."""
    return {
        "name": subjects.RENDER_STREAM,
        "subjects": [subjects.RENDER_SUBJECTS],
        "storage": "memory",
        "retention": "workqueue",
        "discard": "new",
        # One job for each block (see subjects.render), until it is acked.
        "max_msgs_per_subject": 1,
        "discard_new_per_subject": True,
        "max_bytes": limits.render_max_bytes,
        "max_age": int(limits.render_max_age_s * _NANO),
        "duplicate_window": int(limits.render_max_age_s * _NANO),
        "num_replicas": 1,
    }


def audio_stream(limits: BusLimits) -> dict[str, Any]:
    """AUDIO: the last blocks of every stream."""
    return {
        "name": subjects.AUDIO_STREAM,
        "subjects": [subjects.AUDIO_SUBJECTS],
        "storage": "memory",
        "retention": "limits",
        "discard": "old",
        "max_msgs_per_subject": limits.audio_messages_per_subject,
        "max_bytes": limits.audio_max_bytes,
        "max_age": int(limits.audio_max_age_s * _NANO),
        "duplicate_window": _NANO,
        "allow_direct": True,
        "num_replicas": 1,
    }


def bucket(name: str, *, ttl_s: float) -> dict[str, Any]:
    """A key-value bucket whose entries are forgotten `ttl_s` after their last change."""
    return {
        "name": f"KV_{name}",
        "subjects": [f"$KV.{name}.>"],
        "storage": "memory",
        "retention": "limits",
        "discard": "old",
        "max_msgs_per_subject": 1,
        "max_bytes": MIB,
        "max_age": int(ttl_s * _NANO),
        "duplicate_window": min(int(ttl_s * _NANO), 1 * _NANO),
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        "num_replicas": 1,
    }


def differing_fields(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Names of the fields in which a stream on the server differs from the wanted one.

    A field that is not wanted must have its neutral value: with `republish`, `sources` or `subject_transform` a stream
    sends or takes messages that no service published, and with `sealed` it takes none.
    """
    other = (
        field
        for field, value in found.items()
        if field not in wanted and field not in _OF_THE_OPERATOR and value and _UNLIMITED.get(field) != value
    )
    return sorted([*(field for field, value in wanted.items() if found.get(field) != value), *other])


def consumer(durable: str, subject_filter: str, *, ack_wait_s: float) -> dict[str, Any]:
    """A durable pull consumer of the work queue."""
    return {
        "durable_name": durable,
        "name": durable,
        "filter_subject": subject_filter,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": int(ack_wait_s * _NANO),
        # Unbounded: a job expires after max_age, and a worker drops a spec that keeps failing.
        "max_deliver": -1,
        "max_ack_pending": 10_000,
        "max_waiting": 2_048,
        "inactive_threshold": int(CONSUMER_INACTIVE_S * _NANO),
        "replay_policy": "instant",
        "mem_storage": True,
    }
