"""Fuzzing with atheris, apart from the suite: see the Makefile."""
