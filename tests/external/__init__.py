"""Tests that need programs from outside: Node, Chromium, nginx, Envoy or PgBouncer; run by `make test-external`."""
