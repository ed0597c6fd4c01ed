"""What a person is told when a training has ended."""

from ostinato.training import RunFolder, Score


def say_outcome(run: RunFolder, score: Score) -> None:
    """The test of the saved model, and where everything is."""
    from ostinato.lab.report import write_report

    record = run.read_record()
    if record.ended is not None:
        print(f"\n{record.ended}")
    print(f"\nThe saved model, read back from disk: {in_words(score)}\n")
    print(f"  model    {run.model}")
    print(f"  picture  {run.curves}")
    print(f"  page     {write_report(run.path)}")
    print(f"  metrics  {run.metrics}  (also: tensorboard --logdir {run.events})")
    print(f"  try it   ostinato predict {run.path} IMAGE.png")


def in_words(score: Score) -> str:
    right = round(score.accuracy * score.images)
    return (
        f"accuracy {score.accuracy:.2%} ({right:,} of {score.images:,} images), loss {score.loss:.4f}"
    )
