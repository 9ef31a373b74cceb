"""The platform's own models: small, fitted at its first start, kept as files, and used by the kernels."""

CLASSIFIER = "classifier_model.pkl"  # librarian: what a piece of knowledge, or a question, is about
TRUST = "trust_scorer.pkl"  # memory_fusion: how far a piece of knowledge can be trusted
MODELS = (CLASSIFIER, TRUST)
