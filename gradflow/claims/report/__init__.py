"""The ledger as tables, a page, pictures."""
