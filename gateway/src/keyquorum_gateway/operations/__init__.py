"""Operations: what outlives the request that asked for it, each with its events, its deadline and its terminal state."""
