"""Results as HTML pages that know no score."""
