"""The observatory at work: what arrived, what waits for what, what runs, what must be redone."""
