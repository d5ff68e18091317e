"""The callback for Transformers with the real TRL: it works unchanged in a trainer of TRL."""

from __future__ import annotations

from typing import Any

import pytest

from tests.frameworks.reading import HEAVY, recorded

trl = pytest.importorskip("trl", reason=HEAVY)

pytestmark = [pytest.mark.usefixtures("project_directory"), pytest.mark.filterwarnings("default")]


def preference_trainer(callback: Any) -> Any:
    """A tiny model that learns which of two words to prefer. Nothing is fetched."""
    import datasets
    import tokenizers
    import transformers

    words = {word: number for number, word in enumerate(["<pad>", "<eos>", "<unk>", "to", "be", "or", "not"])}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    config = transformers.GPT2Config(
        vocab_size=7, n_positions=8, n_embd=8, n_layer=1, n_head=1, bos_token_id=1, eos_token_id=1, pad_token_id=0
    )
    pairs = datasets.Dataset.from_dict(
        {"prompt": ["to be or"] * 8, "chosen": [" not"] * 8, "rejected": [" to"] * 8},
    )
    args = trl.DPOConfig(
        "out", use_cpu=True, bf16=False, report_to="none", disable_tqdm=True, max_steps=4, logging_steps=1,
        save_steps=2, eval_strategy="steps", eval_steps=2, max_length=8, beta=0.2, per_device_train_batch_size=2,
        metric_for_best_model="rewards/accuracies",
    )  # fmt: skip
    model, reference = transformers.GPT2LMHeadModel(config), transformers.GPT2LMHeadModel(config)
    return trl.DPOTrainer(
        model, reference, args, train_dataset=pairs, eval_dataset=pairs, processing_class=tokenizer,
        callbacks=[callback],
    )  # fmt: skip


def test_a_trainer_of_trl() -> None:
    """The params are TRL's too; the metrics are those of its losses, with the directories that it saves."""
    from keepsake.transformers import KeepsakeCallback

    callback = KeepsakeCallback()
    preference_trainer(callback).train()
    assert callback.experiment is not None
    callback.experiment.stop()
    experiment = recorded()
    assert {"beta": 0.2, "max_length": 8, "model.n_embd": 8}.items() <= experiment.params.items()
    assert experiment.checkpoints.step == [1, 2, 3, 4]
    assert {"loss", "rewards/margins", "eval_loss"} <= experiment.checkpoints[1].metrics.keys()
    paths = [checkpoint.path for checkpoint in experiment.checkpoints]
    assert paths == [None, "out/checkpoint-2", None, "out/checkpoint-4"]
    assert experiment.checkpoints.declared_metric() == {"name": "eval_rewards/accuracies", "goal": "maximize"}
    with experiment.latest().open("out/checkpoint-4/model.safetensors") as file:
        assert file.read(8)
