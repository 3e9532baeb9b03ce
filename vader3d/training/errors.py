"""How a training ends before its time; imports nothing, so that catching them costs nothing."""


class TrainingDiverged(RuntimeError):
    """Too many non-finite steps."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: the state is written."""
