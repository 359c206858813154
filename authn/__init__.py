"""Identity: accounts, clients, keys, grants, tokens and the events that tell what happened to them."""
