"""Tests of what measures: it must not be what fails."""
