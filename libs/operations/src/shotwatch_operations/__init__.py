"""What operators need besides the services.

Set-up, dead letters, reprocessing, promotion, API keys and the ledger's reconciliation.
"""
