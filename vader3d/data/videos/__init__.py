"""Objects of clips of moving subjects, without cameras."""
