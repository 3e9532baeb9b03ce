"""How a training ends before its time."""


class TrainingDiverged(RuntimeError):
    """Too many non-finite steps, or nothing learned that could be handed on."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: the state is written."""
