"""What only operators need, not the services.

Set-up, dead letters, reprocessing, promotion, API keys and the reconciliation of the ledger.
"""
