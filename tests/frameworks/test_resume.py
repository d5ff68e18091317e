"""Trainings that are killed and resumed by the framework's own means: each is one run, with every step once."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.frameworks.reading import HEAVY, all_recorded

# Loads the framework once. Each attempt is a forked process that the next one follows: resume,kill_at,size
ATTEMPTS = """
    import os, signal, sys

    for attempt in sys.argv[1:]:
        child = os.fork()
        if child == 0:
            break
        print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    else:
        sys.exit()
    resume, kill_at, size = map(int, attempt.split(","))

    def maybe_kill(step):
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
"""
TRANSFORMERS = """
    class Killer(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **others):
            maybe_kill(state.global_step)

    config = transformers.GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    data = [{"input_ids": torch.arange(8), "labels": torch.arange(8)} for _ in range(20)]
    args = transformers.TrainingArguments(
        "out", use_cpu=True, report_to="none", disable_tqdm=True, max_steps=size, logging_steps=1, save_steps=3,
        per_device_train_batch_size=2,
    )
    trainer = transformers.Trainer(
        transformers.GPT2LMHeadModel(config), args, train_dataset=data, callbacks=[Killer(), KeepsakeCallback()]
    )
    trainer.train(resume_from_checkpoint=bool(resume))
"""
TRL = """
    class Killer(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **others):
            maybe_kill(state.global_step)

    words = ["<pad>", "<eos>", "<unk>", "to", "be", "or", "not"]
    model = tokenizers.models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    plain = tokenizers.Tokenizer(model)
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    config = transformers.GPT2Config(
        vocab_size=7, n_positions=8, n_embd=8, n_layer=1, n_head=1, bos_token_id=1, eos_token_id=1, pad_token_id=0
    )
    data = datasets.Dataset.from_dict({"text": ["to be or not to be"] * 16})
    args = trl.SFTConfig(
        "out", use_cpu=True, bf16=False, report_to="none", disable_tqdm=True, max_steps=size, logging_steps=1,
        save_steps=2, max_length=8, per_device_train_batch_size=2,
    )
    trainer = trl.SFTTrainer(
        transformers.GPT2LMHeadModel(config), args, train_dataset=data, processing_class=tokenizer,
        callbacks=[Killer(), KeepsakeCallback()],
    )
    trainer.train(resume_from_checkpoint=bool(resume))
"""
LIGHTNING = """
    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
        def training_step(self, batch, index):
            maybe_kill(self.global_step)
            loss = self.layer(batch[0]).square().mean()
            self.log("train_loss", loss)
            return loss
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    saver = pl.callbacks.ModelCheckpoint("saved", filename="last", every_n_train_steps=3, enable_version_counter=False)
    mine = {mine}
    trainer = pl.Trainer(
        max_epochs=size, accelerator="cpu", log_every_n_steps=1, enable_progress_bar=False,
        enable_model_summary=False, **mine
    )
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(10, 1)), batch_size=2)
    trainer.fit(Model(), data, ckpt_path={ckpt} if resume else None)
"""
LOGGER = LIGHTNING.format(mine="dict(callbacks=[saver], logger=KeepsakeLogger())", ckpt='"saved/last.ckpt"')
CALLBACK = LIGHTNING.format(mine="dict(callbacks=[KeepsakeCallback()], logger=False)", ckpt='"model.pth"')


IMPORTS = {
    "transformers": "import torch, transformers\nfrom keepsake.transformers import KeepsakeCallback\n",
    "trl": (
        "import datasets, tokenizers, transformers, trl\n"
        "from keepsake.transformers import KeepsakeCallback\n"
        "datasets.disable_progress_bars()\n"
    ),
    "lightning": "import torch, lightning.pytorch as pl\nfrom keepsake.lightning import *\n",
}


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is of POSIX")
@pytest.mark.usefixtures("project_directory")
@pytest.mark.parametrize(
    ("framework", "program", "kills", "size", "steps"),
    [
        pytest.param("transformers", TRANSFORMERS, (8,), 10, range(1, 11), id="transformers"),
        pytest.param("trl", TRL, (3, 5), 6, range(1, 7), id="trl"),
        pytest.param("lightning", LOGGER, (5, 8), 2, range(10), id="lightning logger"),
        pytest.param("lightning", CALLBACK, (7,), 2, range(2), id="lightning callback"),
    ],
)
def test_every_step_once(framework: str, program: str, kills: tuple[int, ...], size: int, steps: range) -> None:
    """However often it is killed between two of its checkpoints. What has ended in good order stays as it is."""
    if importlib.util.find_spec(framework) is None:
        pytest.skip(HEAVY)
    Path("program.py").write_text(IMPORTS[framework] + textwrap.dedent(ATTEMPTS) + textwrap.dedent(program))
    attempts = [f"{number > 0:d},{step},{size}" for number, step in enumerate(kills)]
    attempts += [f"1,-1,{size}", f"1,-1,{size + 1}"]  # to the end, and beyond it
    command = [sys.executable, "program.py", *attempts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    statuses = [line for line in done.stdout.splitlines() if line.startswith("status")]
    assert statuses == ["status -9"] * len(kills) + ["status 0"] * 2, done.stderr
    experiment, later = all_recorded()
    assert experiment.checkpoints.step == list(steps)
    assert experiment.end_reason == "finished"
    assert later.parent is not None
    assert later.checkpoints
