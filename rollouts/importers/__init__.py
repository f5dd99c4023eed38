"""What other systems keep, translated to flags, configs and segments of this one. Pure: a document in, wishes out."""
