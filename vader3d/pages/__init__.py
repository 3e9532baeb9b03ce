"""Results as HTML pages that need nothing beside them; they know no score."""
