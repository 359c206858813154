"""Logs: one JSON object a line on standard error, one line a request, and never a secret."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_NEVER = frozenset(
    {"authorization", "client_secret", "password", "token", "access_token", "refresh_token", "code", "cookie", "dpop"}
)


def _drop_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A last guard: members with a secret's name lose their value, whoever logs them."""
    for key in event.keys() & _NEVER:
        if isinstance(event[key], str) and key != "code":
            event[key] = "…"
    return event


def configure_logs(level: str = "info") -> None:
    """Set up this process' logs, those of libraries included."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _drop_secrets,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.add_log_level,
                structlog.processors.format_exc_info,
                _drop_secrets,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


def get_logger(name: str) -> Any:
    """A logger whose lines carry ``component=name``."""
    return structlog.get_logger(component=name)


def log_bug(error: Exception) -> None:
    """Log an error that nobody meant to raise."""
    get_logger("api").error("unexpected error", error=type(error).__name__, exc_info=error)
