"""Cut the definitions (CustomResourceDefinition) of add-ons' kinds that the chart and k8s/ make down to JSON Schema.

    python tests/charts/schemas/trim_add_ons.py tests/charts/schemas/add-ons.json.gz FILE...

The files are part of each add-on's release (all Apache-2.0): KEDA 2.20.2 `keda.sh_scaledobjects.yaml`, Prometheus
operator 0.85.0 `monitoring.coreos.com_{podmonitors,servicemonitors,prometheusrules}.yaml`, Gateway API 1.4.0 (standard
channel) `gateway.networking.k8s.io_{gateways,httproutes}.yaml`. As in trim.py, texts are left out, and an object with
listed fields takes no others.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

KEPT = (
    "type", "required", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "minProperties", "maxProperties", "items", "properties", "additionalProperties",
)  # fmt: skip


def main(target: str, *sources: str) -> None:
    """Trim `sources` into `target`."""
    kinds = dict(each for source in sources for each in _kinds(Path(source)))
    text = json.dumps({"kinds": kinds, "definitions": {}}, separators=(",", ":"), sort_keys=True).encode()
    # Without a time in it, the same input gives the same file.
    Path(target).write_bytes(gzip.compress(text, mtime=0))


def _kinds(source: Path) -> Iterator[tuple[str, Any]]:
    for definition in yaml.safe_load_all(source.read_text()):
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = _trim(version["schema"]["openAPIV3Schema"])
            # Every object has metadata, which a definition leaves out.
            schema["properties"]["metadata"] = {"type": "object"}
            schema["properties"].pop("status", None)
            yield f"{spec['group']}/{version['name']}/{spec['names']['kind']}", schema


def _trim(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    trimmed = {name: value for name, value in schema.items() if name in KEPT}
    if "properties" in trimmed:
        trimmed["properties"] = {name: _trim(value) for name, value in trimmed["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            trimmed["additionalProperties"] = False
    elif "additionalProperties" in trimmed:
        trimmed["additionalProperties"] = _trim(trimmed["additionalProperties"])
    if "items" in trimmed:
        trimmed["items"] = _trim(trimmed["items"])
    return trimmed


if __name__ == "__main__":
    main(*sys.argv[1:])
