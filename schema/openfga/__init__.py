"""OpenFGA's models, in its DSL, its modules and its JSON, as values of `schema.model`."""
