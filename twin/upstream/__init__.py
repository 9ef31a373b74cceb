"""The model upstream: a service of somebody else's that the conversation asks, and what watches over its answers."""

SERVICES = ("upstream_model",)  # processes that are no kernels; what they answer is not the platform's to mend
MODEL = "upstream_model"
FALLBACK = "fallback"
