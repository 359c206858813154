"""OAuth clients: what is registered of them, and how they prove who they are."""
