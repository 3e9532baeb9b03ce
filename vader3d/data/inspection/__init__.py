"""A look at a data set before it costs a training."""
