"""The embedded Grace: a small, real multi-process agent platform with its own safeguards."""
