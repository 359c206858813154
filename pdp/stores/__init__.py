"""Relationship stores: one Protocol, one contract suite, several databases."""
