"""Run by the Python of a model's environment: tiny models of several families, their weights drawn at random,
and what transformers says of the texts in ``texts.json``. Its argument is the folder for all of it."""

import json
import sys
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

out = Path(sys.argv[1])
texts = json.loads((out / "texts.json").read_text())
torch.manual_seed(0)
corpus = texts * 3


def wordpiece():
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    tok.train_from_iterator(
        corpus,
        trainers.WordPieceTrainer(
            vocab_size=220, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        ),
    )
    tok.post_processor = processors.BertProcessing(
        ("[SEP]", tok.token_to_id("[SEP]")), ("[CLS]", tok.token_to_id("[CLS]"))
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tok,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )


def bytelevel():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=["<end>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tok, eos_token="<end>", bos_token="<end>")


def save(name, model, tok):
    # Sharper than fresh weights: otherwise every class is as likely as any other.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    model.eval().save_pretrained(out / name)
    tok.save_pretrained(out / name)
    if name == "value":
        f = out / name / "tokenizer_config.json"
        c = json.loads(f.read_text())
        c["model_input_names"] = ["input_ids", "attention_mask"]
        f.write_text(json.dumps(c))


wp, bl = wordpiece(), bytelevel()
small = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "vocab_size": len(wp),
}
plain = wordpiece()
plain.model_input_names = ["input_ids", "attention_mask"]
labels = {0: "bad", 1: "good", 2: "so so"}
save(
    "classes",
    transformers.BertForSequenceClassification(
        transformers.BertConfig(**small, id2label=labels, label2id={v: k for k, v in labels.items()})
    ),
    wp,
)
save(
    "several",
    transformers.BertForSequenceClassification(
        transformers.BertConfig(**small, num_labels=4, problem_type="multi_label_classification")
    ),
    wp,
)
save(
    "value",
    transformers.DistilBertForSequenceClassification(
        transformers.DistilBertConfig(
            dim=32,
            n_layers=2,
            n_heads=2,
            hidden_dim=64,
            max_position_embeddings=64,
            vocab_size=len(wp),
            num_labels=1,
            problem_type="regression",
        )
    ),
    plain,
)
tags = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}
save(
    "tags",
    transformers.BertForTokenClassification(
        transformers.BertConfig(**small, id2label=tags, label2id={v: k for k, v in tags.items()})
    ),
    wp,
)
save("masked", transformers.BertForMaskedLM(transformers.BertConfig(**small)), wp)
end = bl.eos_token_id
save(
    "llama",
    transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(bl),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=128,
            eos_token_id=end,
            bos_token_id=end,
        )
    ),
    bl,
)
chat = bytelevel()
chat.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<answer>{% endif %}"
save(
    "chat",
    transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=len(bl),
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=128,
            eos_token_id=end,
            bos_token_id=end,
        )
    ),
    chat,
)
pads = bytelevel()
pads.pad_token = "<end>"
save(
    "t5",
    transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=len(bl),
            d_model=32,
            d_kv=16,
            d_ff=64,
            num_layers=2,
            num_heads=2,
            decoder_start_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
        )
    ),
    pads,
)

told = {}


def pipe(task, name):
    return transformers.pipeline(
        task,
        model=str(out / name),
        tokenizer=transformers.AutoTokenizer.from_pretrained(out / name),
        device="cpu",
    )


for name in ("classes", "several", "value"):
    told[name] = [pipe("text-classification", name)(text, top_k=None) for text in texts]
tagger = pipe("token-classification", "tags")
told["tags"] = {
    how: [
        [
            {**each, "score": float(each["score"]), **({"index": 0} if "index" in each else {})}
            for each in tagger(text, aggregation_strategy=how)
        ]
        for text in texts
    ]
    for how in ("none", "simple", "first", "average", "max")
}
masked = ["[MASK] " + text for text in texts]
told["masked"] = [
    [
        {"token": each["token_str"], "score": each["score"]}
        for each in pipe("fill-mask", "masked")(text, top_k=3)
    ]
    for text in masked
]
classes = {"llama": "AutoModelForCausalLM", "chat": "AutoModelForCausalLM", "t5": "AutoModelForSeq2SeqLM"}
for name, task in classes.items():
    model = getattr(transformers, task).from_pretrained(out / name).eval()
    tok = transformers.AutoTokenizer.from_pretrained(out / name)
    rows = []
    for text in texts:
        if name == "chat":
            text = tok.apply_chat_template(
                [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
            )
        inputs = tok(text, return_tensors="pt", add_special_tokens=name != "chat")
        with torch.inference_mode():
            made = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=12,
                do_sample=False,
                num_beams=1,
                pad_token_id=end,
            )[0]
        new = made[1:] if name == "t5" else made[inputs["input_ids"].shape[1] :]
        rows.append(tok.decode(new, skip_special_tokens=True))
    told[name] = rows
(out / "told.json").write_text(json.dumps(told))
