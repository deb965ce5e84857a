"""What every service shares: the facility, contracts, blocks, and the edges."""
