"""The domain: cards, cases, assertions, plans, the engine. No I/O, light to import."""
