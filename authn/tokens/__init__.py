"""Tokens: issued, renewed, exchanged, looked into and taken back."""
