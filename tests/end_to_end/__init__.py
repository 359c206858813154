"""Tests of the service as its users run it: a process, its sockets, its signals and its output."""
