"""The database: tables, migrations, transactions, and the check that tenants are kept apart."""
