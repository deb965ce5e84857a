"""The periodic jobs of the service, one module each: trends, drift, references, ledger, promotions."""
