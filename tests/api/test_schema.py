# SPDX-License-Identifier: BSD-3-Clause
"""The API as it was published: schema.json is what sys.schema says, and within a major version it only grows.

When it has grown on purpose: build/control/ctl/leatctl --offline-schema > tests/api/schema.json
"""
import json
import os
import subprocess

from node import LEATCTL
from waiting import DEADLINE_S

PUBLISHED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schema.json")


def published():
    with open(PUBLISHED, encoding="utf-8") as text:
        return json.load(text)


def built():
    return json.loads(subprocess.run([LEATCTL, "--offline-schema"], check=True, capture_output=True, text=True,
                                     timeout=DEADLINE_S).stdout)


def test_published_schema_is_up_to_date():
    assert built() == published(), "schema.json must be written anew (see above)"


def test_daemon_and_client_have_the_same_schema(client):
    assert client.call("sys.schema") == built()


def test_every_field_has_help_and_every_method_too():
    for name, method in built()["methods"].items():
        assert method["description"].endswith("."), name
        for field, properties in method["params"]["properties"].items():
            assert properties["description"], f"{name}.{field}"


def test_every_method_has_a_handler(client):
    for name in published()["methods"]:
        client.send(json.dumps({"id": 1, "method": name, "params": {"no-such-field": 1}}).encode() + b"\n")
        assert client.answer()["error"]["code"] == -32602, name
    empty = [name for name, method in published()["methods"].items() if not method["params"]["required"]]
    for name in empty:
        client.send(json.dumps({"id": 2, "method": name}).encode() + b"\n")
        answer = client.answer()
        assert answer.get("error", {}).get("code") != -32601, name
