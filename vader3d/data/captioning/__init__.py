"""What can be said of objects, and archives with more said."""
