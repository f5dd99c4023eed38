"""Loading the demo: people, flags, a month behind them, and a release on its way."""
