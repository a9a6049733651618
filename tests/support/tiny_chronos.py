"""Run by the Python of Chronos' environment: random weights of its real architectures, small, in the hub's layout.
Argument: the folder for them, one folder below it for each entry."""

import sys

import torch
from chronos.chronos_bolt import ChronosBoltModelForForecasting
from transformers import T5Config, T5ForConditionalGeneration

SIZES = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}
TOKENS = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}

torch.manual_seed(0)
config = T5Config(**SIZES, **TOKENS, vocab_size=4096, architectures=["T5ForConditionalGeneration"])
config.chronos_config = {
    "tokenizer_class": "MeanScaleUniformBins",
    "tokenizer_kwargs": {"low_limit": -15.0, "high_limit": 15.0},
    "n_tokens": 4096,
    "n_special_tokens": 2,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "use_eos_token": True,
    "model_type": "seq2seq",
    "context_length": 512,
    "prediction_length": 64,
    "num_samples": 20,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
}
T5ForConditionalGeneration(config).save_pretrained(sys.argv[1] + "/chronos-t5-tiny")

config = T5Config(
    **SIZES, **TOKENS, vocab_size=2, reg_token_id=1, architectures=["ChronosBoltModelForForecasting"]
)
config.chronos_config = {
    "context_length": 2048,
    "prediction_length": 64,
    "input_patch_size": 16,
    "input_patch_stride": 16,
    "quantiles": [level / 10 for level in range(1, 10)],
    "use_reg_token": True,
}
config.chronos_pipeline_class = "ChronosBoltPipeline"
ChronosBoltModelForForecasting(config).save_pretrained(sys.argv[1] + "/chronos-bolt-tiny")
