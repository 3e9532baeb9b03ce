"""How good is it: metrics, features, protocols, reports."""
