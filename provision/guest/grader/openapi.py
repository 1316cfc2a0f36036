"""The OpenAPI description of the service."""

from typing import Any

from provision.guest.grader.jobe.openapi import PATHS as JOBE

_TEXT = {"type": "string"}
_REASON = {"type": "string", "description": "what went wrong, for a person"}


def _answers(*codes: tuple[int, str, str]) -> dict[str, Any]:
    return {
        str(code): {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
        }
        for code, text, name in codes
    }


_SCHEMAS: dict[str, Any] = {
    "Answer": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"enum": ["ok", "busy", "bad_request", "not_found", "unauthorized", "error"]},
            "id": {"type": "string", "description": "of the task that was accepted"},
            "reason": _REASON,
        },
    },
    "Task": {
        "type": "object",
        "required": ["id", "state", "image", "engine", "created"],
        "properties": {
            "id": _TEXT,
            "state": {"enum": ["queued", "running", "done"]},
            "image": _TEXT,
            "engine": _TEXT,
            "created": {"type": "number"},
            "ended": {"type": ["number", "null"]},
            "notified": {"type": ["string", "null"]},
            "status": {"enum": ["finished", "failed", "timeout"]},
            "exit_code": {"type": ["integer", "null"]},
            "output": _TEXT,
            "test_output": _TEXT,
            "stdout": _TEXT,
            "stderr": _TEXT,
            "reason": _REASON,
            "seconds": {"type": "number"},
            "cpu": {"type": "number"},
            "memory": {"type": "integer"},
        },
    },
    "Status": {
        "type": "object",
        "required": ["busy_instances", "total_instances", "loadavg"],
        "properties": {
            "busy_instances": {"type": "integer"},
            "total_instances": {"type": "integer"},
            "loadavg": {"type": "array", "items": _TEXT},
            "queued": {"type": "integer"},
            "queue": {"type": "integer"},
        },
    },
}

_SUBMISSION = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "an uncompressed tar with an executable tmc-run",
                    },
                    "notify": {"type": "string", "description": "URL that gets the result"},
                    "token": {"type": "string", "description": "returned to notify"},
                    "notify_format": {"enum": ["json", "form"]},
                    "image": _TEXT,
                    "engine": _TEXT,
                },
            }
        }
    },
}

_POSTED = _answers(
    (200, "accepted", "Answer"),
    (400, "no submission", "Answer"),
    (401, "no valid token", "Answer"),
    (408, "the upload took too long", "Answer"),
    (429, "this client has too many tasks", "Answer"),
    (500, "every instance runs and the queue is full", "Answer"),
    (507, "the disk is full", "Answer"),
)
_IDENTIFIER = {"name": "id", "in": "path", "required": True, "schema": _TEXT}
_WAIT = {
    "name": "wait",
    "in": "query",
    "schema": {"type": "number"},
    "description": "seconds to wait for the end of the task, at most 60",
}
_TASK = _answers(
    (200, "the task", "Task"),
    (400, "wait is no number", "Answer"),
    (401, "no valid token", "Answer"),
    (404, "no such task", "Answer"),
)


def _plain(kind: str, text: str) -> dict[str, Any]:
    return {"200": {"description": text, "content": {kind: {"schema": _TEXT}}}}


def document(*, secured: bool) -> dict[str, Any]:
    """The description, with or without the bearer token."""
    paths: dict[str, Any] = {
        "/": {
            "post": {
                "summary": "Run a task (any path does, as the TMC protocol has it).",
                "requestBody": _SUBMISSION,
                "responses": _POSTED,
            }
        },
        "/tasks.json": {
            "post": {
                "summary": "Run a task.",
                "requestBody": _SUBMISSION,
                "responses": _POSTED,
            }
        },
        "/tasks/{id}": {
            "get": {
                "summary": "A task and its result; ?wait=SECONDS waits for the end.",
                "parameters": [_IDENTIFIER, _WAIT],
                "responses": _TASK,
            }
        },
        "/tasks/{id}/events": {
            "get": {
                "summary": "The states of a task as server-sent events.",
                "parameters": [_IDENTIFIER],
                "responses": {
                    **_plain("text/event-stream", "events queued, running and done"),
                    **_answers((401, "no valid token", "Answer"), (404, "no such task", "Answer")),
                },
            }
        },
        "/status.json": {
            "get": {
                "summary": "Busy and total instances, load, images and how limits are kept.",
                "responses": _answers((200, "the status", "Status")),
            }
        },
        "/metrics": {
            "get": {
                "summary": "Counters for Prometheus.",
                "responses": _plain("text/plain", "the metrics"),
            }
        },
        **JOBE,
    }
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Grading sandbox",
            "version": "1",
            "description": "Runs exercises where they can do no harm, "
            "and posts what came of them to the URL that the request names.",
        },
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }
    if secured:
        described["components"]["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"},
        }
        described["security"] = [{"token": []}, {"key": []}]
    return described
