"""The whole store in memory, as integers: every read is loaded, a check is microseconds (Zanzibar, section 3.2.4)."""
