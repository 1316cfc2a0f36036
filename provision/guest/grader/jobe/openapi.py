"""The OpenAPI description of Jobe's requests."""

from typing import Any

from provision.guest.grader.jobe.routes import PLACES

_TEXT = {"type": "string"}
_IDENTIFIER = {"name": "id", "in": "path", "required": True, "schema": _TEXT}
_RESULT = {
    "type": "object",
    "required": ["run_id", "outcome", "cmpinfo", "stdout", "stderr"],
    "properties": {
        **{name: _TEXT for name in ("run_id", "cmpinfo", "stdout", "stderr")},
        "outcome": {"enum": [11, 12, 13, 15, 17, 20, 21]},
    },
}
_SPEC = {
    "type": "object",
    "required": ["language_id", "sourcecode"],
    "properties": {
        **{name: _TEXT for name in ("language_id", "sourcecode", "sourcefilename", "input")},
        "file_list": {"type": "array", "items": {"type": "array", "items": _TEXT}},
        "parameters": {"type": "object"},
    },
}


def _body(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    whole = {"type": "object", "required": [name], "properties": {name: schema}}
    return {"required": True, "content": {"application/json": {"schema": whole}}}


def _answers(kept: dict[str, Any], *refused: int) -> dict[str, Any]:
    said = {
        400: "what is wrong with the request",
        404: "what is missing",
        408: "the upload took too long",
        507: "the disk is full",
    }
    denied = {"schema": {"$ref": "#/components/schemas/Answer"}}
    return {
        **kept,
        "401": {"description": "no valid key", "content": {"application/json": denied}},
        **{
            str(status): {"description": said[status], "content": {"text/plain": {"schema": _TEXT}}}
            for status in refused
        },
    }


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"200": {"description": text, "content": {"application/json": {"schema": schema}}}}


PATHS: dict[str, Any] = {
    f"{PLACES[0]}/languages": {
        "get": {
            "summary": "Jobe: the languages and their versions.",
            "responses": _answers(_json("pairs", {"type": "array", "items": {"type": "array"}})),
        }
    },
    f"{PLACES[0]}/runs": {
        "post": {
            "summary": "Jobe: compile and run a program; answered when it is over.",
            "requestBody": _body("run_spec", _SPEC),
            "responses": _answers(_json("what came of it", _RESULT), 400, 404, 408, 507),
        }
    },
    f"{PLACES[0]}/files/{{id}}": {
        "put": {
            "parameters": [_IDENTIFIER],
            "summary": "Jobe: keep a file for later runs.",
            "requestBody": _body("file_contents", {"type": "string", "format": "byte"}),
            "responses": _answers({"204": {"description": "kept"}}, 400, 404, 408, 507),
        },
        "head": {
            "parameters": [_IDENTIFIER],
            "summary": "Jobe: is a file kept?",
            "responses": {
                "204": {"description": "it is"},
                "401": {"description": "no valid key"},
                "404": {"description": "it is not"},
            },
        },
    },
}
