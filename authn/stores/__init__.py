"""Where ``authn`` keeps things: SQLite or PostgreSQL behind one small Protocol."""
