"""The policy decision point: relationships, their stores, the graph over them and its queries."""
