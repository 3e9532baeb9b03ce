"""Objects from photographs and clips without cameras."""
