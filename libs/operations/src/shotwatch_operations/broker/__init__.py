"""Operations on the broker: accounts, set-up, dead letters."""
