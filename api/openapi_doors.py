"""The OpenAPI document's part for what stands beside the v1 API: OAuth's endpoints and AuthZEN's."""

from collections.abc import Mapping
from typing import Any

import msgspec

from api.authzen import (
    HANDLES,
    PATHS,
    WELL_KNOWN,
    ActionSearch,
    Evaluation,
    Evaluations,
    ResourceSearch,
    SubjectSearch,
)
from authn.discovery import (
    AUTHORIZATION_SERVER_PATH,
    COMPROMISED_KEYS_PATH,
    INTROSPECT_PATH,
    JWKS_PATH,
    OPENID_CONFIGURATION_PATH,
    PROTECTED_RESOURCE_PATH,
    REVOKE_PATH,
    TOKEN_PATH,
)

_TEXT = {"type": "string"}
_FORMS: Mapping[str, tuple[str, Mapping[str, str], tuple[str, ...]]] = {
    TOKEN_PATH: (
        "Issue a token (RFC 6749, section 3.2).",
        {
            "grant_type": "How the client asks: `client_credentials`, `refresh_token` or a URN.",
            "client_id": "Where the client does not authenticate by a header.",
            "client_secret": "RFC 6749, section 2.3.1.",
            "client_assertion_type": "RFC 7521, section 4.2.",
            "client_assertion": "RFC 7523, section 2.2.",
            "scope": "What the token is for; all that the client may have where it is left out.",
            "resource": "Whom the token is for (RFC 8707).",
            "refresh_token": "For the grant of that name.",
            "subject_token": "For an exchange (RFC 8693).",
            "subject_token_type": "For an exchange.",
            "actor_token": "For an exchange.",
            "actor_token_type": "For an exchange.",
            "authorization_details": "RFC 9396, as JSON.",
        },
        ("grant_type",),
    ),
    INTROSPECT_PATH: (
        "Look into a token (RFC 7662).",
        {"token": "The token.", "token_type_hint": "What it may be."},
        ("token",),
    ),
    REVOKE_PATH: (
        "Take a token back (RFC 7009).",
        {"token": "The token.", "token_type_hint": "What it may be."},
        ("token",),
    ),
}
_DOCUMENTS: Mapping[str, str] = {
    JWKS_PATH: "The keys that tokens are signed with (RFC 7517).",
    COMPROMISED_KEYS_PATH: "Ids of keys that must not be trusted any more.",
    OPENID_CONFIGURATION_PATH: "Metadata of the OpenID provider.",
    AUTHORIZATION_SERVER_PATH: "Metadata of the authorization server (RFC 8414).",
    PROTECTED_RESOURCE_PATH: "Metadata of this API as a protected resource (RFC 9728).",
    WELL_KNOWN: "Metadata of the policy decision point (AuthZEN 1.0).",
}
_QUESTIONS: Mapping[str, tuple[str, type[msgspec.Struct]]] = {
    PATHS["access_evaluation_endpoint"]: ("May this be done?", Evaluation),
    PATHS["access_evaluations_endpoint"]: ("May these be done?", Evaluations),
    PATHS["search_subject_endpoint"]: ("Who may do this?", SubjectSearch),
    PATHS["search_resource_endpoint"]: ("On what may this be done?", ResourceSearch),
    PATHS["search_action_endpoint"]: ("What may be done?", ActionSearch),
}
_OAUTH_ERROR = {
    "type": "object",
    "properties": {"error": _TEXT, "error_description": _TEXT},
    "required": ["error"],
}


def door_paths() -> tuple[dict[str, Any], dict[str, Any]]:
    """Path items, and component schemas by name."""
    _, schemas = msgspec.json.schema_components(
        [kind for _, kind in _QUESTIONS.values()], ref_template="#/components/schemas/AuthZEN.{name}"
    )
    paths: dict[str, Any] = {path: {"get": _document(text)} for path, text in _DOCUMENTS.items()}
    paths |= {path: {"post": _form(*form)} for path, form in _FORMS.items()}
    for path in HANDLES:
        text, kind = _QUESTIONS[path]
        paths[path] = {"post": _question(text, kind)}
    return paths, {f"AuthZEN.{name}": schema for name, schema in schemas.items()}


def _answer(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _document(text: str) -> dict[str, Any]:
    return {
        "tags": ["discovery"],
        "summary": text,
        "responses": {"200": _answer("The document.", {"type": "object"})},
    }


def _form(text: str, fields: Mapping[str, str], required: tuple[str, ...]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {name: {**_TEXT, "description": what} for name, what in fields.items()},
        "required": list(required),
    }
    errors = {
        "400": "The request is refused.",
        "401": "The client did not authenticate.",
        "413": "The body is too large.",
        "415": "The body is no form.",
        "503": "Something needed is out of reach; try again after `Retry-After`.",
    }
    return {
        "tags": ["OAuth"],
        "summary": text,
        "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": schema}}, "required": True},
        "responses": {
            "200": _answer("Success.", {"type": "object"}),
            **{code: _answer(why, _OAUTH_ERROR) for code, why in errors.items()},
        },
    }


def _question(text: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    errors = {
        "400": "The request is not of its form.",
        "401": "There is no credential, or it is not good.",
        "403": "The credential does not allow this.",
        "404": "There is no such store.",
        "413": "The body is too large.",
        "503": "The database cannot be reached; try again after `Retry-After`.",
    }
    reference = {"$ref": f"#/components/schemas/AuthZEN.{kind.__name__}"}
    return {
        "tags": ["AuthZEN"],
        "summary": text,
        "security": [{"bearer": []}],
        "parameters": [{"$ref": "#/components/parameters/TesseraStore"}],
        "requestBody": {"content": {"application/json": {"schema": reference}}, "required": True},
        "responses": {
            "200": _answer("The answer; a denial is one.", {"type": "object"}),
            **{code: _answer(why, _TEXT) for code, why in errors.items()},
        },
    }
