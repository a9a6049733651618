"""Run by the Python of a model's environment: tiny models that see and hear, their weights drawn at random, and
what transformers' own pipelines say of the images and recordings in the folder that is its argument."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

out = Path(sys.argv[1])
torch.manual_seed(0)
images = [Image.open(path).convert("RGB") for path in sorted(out.glob("*.png"))]
sounds = [np.load(path) for path in sorted(out.glob("*.npy"))]
small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
told = {}


def save(name, model, *beside):
    # Sharper than fresh weights: otherwise every class is as likely as any other.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(6)
    model.eval().save_pretrained(out / name)
    for each in beside:
        each.save_pretrained(out / name)
    return str(out / name)


labels = {0: "cat", 1: "dog", 2: "bird", 3: "fish"}
named = {"id2label": labels, "label2id": {v: k for k, v in labels.items()}}
square = transformers.ViTImageProcessor(size={"height": 32, "width": 32})

vit = transformers.ViTConfig(**small, image_size=32, patch_size=8, **named)
place = save("classes", transformers.ViTForImageClassification(vit), square)
told["classes"] = transformers.pipeline("image-classification", place, top_k=4)(images)

dino = transformers.Dinov2Config(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
)
place = save("vectors", transformers.Dinov2Model(dino), square)
model = transformers.AutoModel.from_pretrained(place).eval()
with torch.no_grad():
    told["vectors"] = [
        model(**square(images=image, return_tensors="pt")).last_hidden_state[0, 0].tolist()
        for image in images
    ]

resnet = transformers.ResNetConfig(
    embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
)
place = save("convolutions", transformers.ResNetModel(resnet), square)
model = transformers.AutoModel.from_pretrained(place).eval()
with torch.no_grad():
    told["convolutions"] = [
        model(**square(images=image, return_tensors="pt")).pooler_output.flatten().tolist()
        for image in images
    ]

yolos = transformers.YolosConfig(
    **small, image_size=[64, 64], patch_size=16, num_detection_tokens=5, **named
)
reader = transformers.YolosImageProcessor(size={"shortest_edge": 48, "longest_edge": 64})
place = save("objects", transformers.YolosForObjectDetection(yolos), reader)
told["objects"] = [
    transformers.pipeline("object-detection", place, threshold=0.1)(image) for image in images
]

# --- hearing

vocabulary = {
    letter: number for number, letter in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKL"])
}
(out / "vocabulary").mkdir()
(out / "vocabulary" / "vocab.json").write_text(json.dumps(vocabulary))
letters = transformers.Wav2Vec2CTCTokenizer(str(out / "vocabulary" / "vocab.json"))
waves = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=False)
convolutions = {
    "conv_dim": (16, 16),
    "conv_stride": (8, 8),
    "conv_kernel": (16, 8),
    "num_feat_extract_layers": 2,
}
ctc = transformers.Wav2Vec2Config(
    **small, **convolutions, vocab_size=len(vocabulary), pad_token_id=0, num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=4,
)  # fmt: skip
place = save("letters", transformers.Wav2Vec2ForCTC(ctc), transformers.Wav2Vec2Processor(waves, letters))
pipe = transformers.pipeline("automatic-speech-recognition", place)
told["letters"] = [pipe({"raw": sound, "sampling_rate": 16000})["text"] for sound in sounds]

heard = transformers.Wav2Vec2Config(
    **small, **convolutions, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, classifier_proj_size=16,
    **named,
)  # fmt: skip
place = save("noises", transformers.Wav2Vec2ForSequenceClassification(heard), waves)
config = json.loads((out / "noises" / "config.json").read_text())
pipe = transformers.pipeline("audio-classification", place, top_k=4)
told["noises"] = [pipe({"raw": sound, "sampling_rate": 16000}) for sound in sounds]

alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
tokens = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokens.decoder = decoders.ByteLevel()
special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>",
           "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]  # fmt: skip
tokens.add_special_tokens(special)
tokens.add_tokens([f"<|{each / 50:.2f}|>" for each in range(1501)])
writer = transformers.WhisperTokenizerFast(tokenizer_object=tokens)
writer.save_pretrained(out / "words")
number = {token: tokens.token_to_id(token) for token in special}
whisper = transformers.WhisperConfig(
    vocab_size=tokens.get_vocab_size(), d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, num_mel_bins=80, max_target_positions=64,
    bos_token_id=number["<|endoftext|>"], eos_token_id=number["<|endoftext|>"], pad_token_id=number["<|endoftext|>"],
    decoder_start_token_id=number["<|startoftranscript|>"], suppress_tokens=None, begin_suppress_tokens=None,
)  # fmt: skip
model = transformers.WhisperForConditionalGeneration(whisper)
model.generation_config = transformers.GenerationConfig(
    max_length=40, eos_token_id=number["<|endoftext|>"], pad_token_id=number["<|endoftext|>"],
    decoder_start_token_id=number["<|startoftranscript|>"], no_timestamps_token_id=number["<|notimestamps|>"],
    prev_sot_token_id=number["<|startofprev|>"], max_initial_timestamp_index=50, return_timestamps=False,
    is_multilingual=True, lang_to_id={"<|en|>": number["<|en|>"], "<|de|>": number["<|de|>"]},
    task_to_id={"translate": number["<|translate|>"], "transcribe": number["<|transcribe|>"]},
)  # fmt: skip
features = transformers.WhisperFeatureExtractor()
place = save("words", model, transformers.WhisperProcessor(features, writer))
# As its page writes it; the pipeline looks five ways at once (num_beams), which the model's own settings do not.
processor = transformers.AutoProcessor.from_pretrained(place)
model = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(place).eval()
told["words"] = []
for sound in sounds:
    inputs = processor(sound, sampling_rate=16000, return_tensors="pt")
    written = model.generate(inputs.input_features, language="en", task="transcribe")
    told["words"].append(processor.batch_decode(written, skip_special_tokens=True)[0])
(out / "told.json").write_text(json.dumps(told))
