"""What users say of a release: entries, what they feel like, and the ratings that guard a rollout."""
