#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the seed corpus of fuzz_jsonrpc: for each method of the API one request with every field it has, one with the
required ones only, and one field as leatctl takes it from a command line.

Usage: leatctl --json schema | seeds_jsonrpc.py FOLDER        (a schema as sys.schema answers it, on standard input)
"""
import json
import pathlib
import sys

TEXTS = {"name": "p1", "id": "pod-1", "path": "/run/x", "ip": "10.0.0.1", "prefix": "10.0.0.0/8",
         "ifaddr": "10.1.2.3/24", "mac": "02:00:00:00:00:01"}


def value(field):
    kind = field["type"]
    if isinstance(kind, list):
        return "tcp"  # a protocol, by name or number
    if kind == "array":
        items = [value(field["items"])]
        if field["items"].get("format") in ("ip", "ifaddr"):
            items.append("2001:db8::1")
        return items
    if kind == "object":
        inner = field.get("properties", {})
        if not inner:
            return {"method": "route.add", "params": {"prefix": "10.0.0.0/8", "type": "blackhole"}}
        return {name: value(f) for name, f in inner.items()}
    if kind == "boolean":
        return True
    if kind == "integer":
        return max(field["minimum"], min(field["maximum"], 7))
    return field["enum"][-1] if "enum" in field else TEXTS.get(field.get("format"), "text")


def as_text(given):
    if isinstance(given, list) and not isinstance(given[0], dict):
        return ",".join(as_text(one) for one in given)
    if isinstance(given, (dict, list, bool)):
        return json.dumps(given)
    return str(given)


def seeds(schema):
    for name, method in schema["methods"].items():
        fields = method["params"]["properties"]
        every = {f: value(v) for f, v in fields.items()}
        required = {f: every[f] for f in method["params"]["required"]}
        yield f"{name}-all", json.dumps({"jsonrpc": "2.0", "id": 1, "method": name, "params": every})
        if required != every:
            yield f"{name}-required", json.dumps({"id": "a", "method": name, "params": required})
        for field in list(fields)[:1]:
            yield f"{name}-text", f"={name} {field}={as_text(every[field])}"


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in seeds(json.load(sys.stdin)):
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
