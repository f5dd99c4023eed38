"""Questions about rollouts that span more than one row."""
