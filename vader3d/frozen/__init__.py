"""Every network that is not trained here."""
