"""Versions of the tables of stores and relationships, oldest first; `pdp.stores.migrate` runs them.

A version comes in two phases, so that programs of the version before run beside it: one that only adds (columns with
a default, tables, indexes) and leaves ``pdp_programs.oldest`` alone, and, a release later, one that takes away what
nobody reads any more and raises it.
"""
