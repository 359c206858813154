"""Signing keys: their states, their secrecy at rest, and the ring that signs and verifies."""
