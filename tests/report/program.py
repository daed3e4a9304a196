"""One rank of a small training job; arguments: learning rate, number of steps, "die" or "end"."""

import math
import os
import sys

import asynclog

rank = int(os.environ["RANK"])
lr, steps, end = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

asynclog.start_sync(level="DEBUG")
log = asynclog.get_logger("train.loop")
asynclog.log_params({"lr": lr, "model": {"depth": 3}})
log.warning("<script>document.title = 'taken over'</script>", path="</script><b>bold</b>")
for epoch in range(2):
    with asynclog.stage("epoch", epoch=epoch):
        with asynclog.stage("train"):
            for step in range(epoch * steps, (epoch + 1) * steps):
                loss = math.exp(-step * lr / steps) + rank / 10
                if step == 7 and rank == 1:
                    loss = math.nan
                asynclog.log_metrics(
                    {"loss": loss, "grad/norm": 1 + step % 5}, step=step, split="train"
                )
                log.debug("batch", step=step)
        with asynclog.stage("validate"), asynclog.timer("eval"):
            asynclog.log_metrics({"loss": 1 / (epoch + 2)}, step=step, split="val")
    log.info("epoch done", epoch=epoch)
asynclog.get_logger("data").error("shard 17 is missing")
if end == "die" and rank == 1:
    try:
        {}["shard"]
    except KeyError:
        log.exception("cannot go on")
    raise RuntimeError("out of shards <img src=x onerror=alert(1)>")
