"""The JSON Schema: it knows the sample, refuses typos, and is the one that is shipped."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from test_bad_configs import DIRECTORY
from test_mutations import EVERYTHING

from policyd.config.grammar import FILE_TABLE
from policyd.config.nodes import Listing, Mapping, Node, compose, decode
from policyd.config.problem import Problems
from policyd.config.schema import json_schema

ETC = Path(__file__).parents[2] / "etc/policyd"
VALIDATOR = jsonschema.Draft7Validator(json_schema())


def as_json(node: Node | None) -> Any:
    """Return what an editor makes of a rule file: YAML 1.2, as JSON."""
    if isinstance(node, Mapping):
        return {key.text: as_json(value) for key, value in node.entries}
    if isinstance(node, Listing):
        return [as_json(item) for item in node.items]
    assert node is not None
    if node.quoted:
        return node.text
    # of all scalars, JSON spells these alike
    is_literal = re.fullmatch("true|false|null|-?[0-9]+([.][0-9]+)?", node.text)
    return json.loads(node.text.lstrip("0") or "0") if is_literal else node.text or None


def errors_in(data: bytes) -> list[str]:
    problems = Problems()
    tree = compose(decode("policy.yaml", data), problems)
    assert problems.in_order() == ()
    return [error.message for error in VALIDATOR.iter_errors(as_json(tree))]


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(json_schema())


def test_the_schema_that_is_shipped_is_this_one() -> None:
    shipped = (ETC / "policy.schema.json").read_text()
    assert json.loads(shipped) == json_schema(), "write it anew with policyd schema"


def test_good_files_are_valid() -> None:
    assert errors_in((ETC / "policy.yaml").read_bytes()) == []
    assert errors_in(EVERYTHING.encode()) == []


@pytest.mark.parametrize(
    "name",
    """unknown-key unknown-top-level-key unknown-condition required-keys-missing value-missing
    mode-unknown number-word number-negative number-float number-quoted number-list
    number-duration number-unlimited duration-without-unit duration-compound duration-with-space
    duration-zero boolean-yes boolean-quoted likeness-unknown likeness-fallback-content
    limit-id-bad per-empty per-unknown
    per-varying per-prefix-on-name count-unknown refuse-unknown action-ok action-lower-case
    action-code-250 status-malformed tolerance-percentage until-german strip-extension
    state-relative override-unlimited-upper-case ladder-step ladder-values notices-values
    hook-values hooks-a-mapping limits-a-mapping
    organization-a-word version-unknown""".split(),
)
def test_typos_are_not(name: str) -> None:
    assert errors_in((DIRECTORY / f"{name}.yaml").read_bytes())


def descriptions(schema: Any, path: str = "") -> dict[str, str]:
    found = {}
    for name, value in schema.get("properties", {}).items():
        found[f"{path}.{name}"] = value.get("description", "")
        found |= descriptions(value, f"{path}.{name}") | descriptions(
            value.get("items", {}), f"{path}.{name}"
        )
    return found


def test_every_key_says_what_it_means() -> None:
    told = descriptions(json_schema())
    assert len(told) > 110
    for name, description in told.items():
        assert re.fullmatch(r"[A-Z{W].*[.:\d]|[a-z].*\.", description), name


def test_defaults_are_told() -> None:
    properties = json_schema()["properties"]
    assert properties["mode"]["default"] == "observe"
    assert properties["state"]["properties"]["snapshot_every"]["default"] == "60s"
    assert properties["limits"]["items"]["properties"]["strike"]["default"] is False
    assert "default" not in properties["limits"]["items"]["properties"]["max"]


def test_the_sample_explains_every_key() -> None:
    sample = (ETC / "policy.yaml").read_text()
    for key in FILE_TABLE.keys:
        assert re.search(rf"^(# )?{key.name}:", sample, re.MULTILINE), key.name
    for key in json_schema()["properties"]["limits"]["items"]["properties"]:
        assert re.search(rf"^#   {key} ", sample, re.MULTILINE), key
    for table in ("likeness", "ladder", "notices"):
        for key in json_schema()["properties"][table]["properties"]:
            assert re.search(rf"^  (# )?{key}:", sample, re.MULTILINE), key
