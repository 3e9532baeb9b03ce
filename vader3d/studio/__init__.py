"""The studio: a page in the browser, and the jobs behind it."""
