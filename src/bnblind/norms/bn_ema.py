from bnblind.norms import RunningAverages


class AveragedBatchNorm(RunningAverages):
    """``bn_ema``: BN with running averages in training, too, through which no gradient passes.

    The forward pass of ``bn_renorm``, with a gradient that nothing blocks.
    """
