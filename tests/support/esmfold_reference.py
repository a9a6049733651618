"""Run by the Python of a model's environment: a tiny ESMFold, its weights drawn at random, and what transformers says
of the sequences that are its second argument, one by one. Its first is the folder."""

import json
import sys
from pathlib import Path

import torch
from transformers import EsmConfig, EsmForProteinFolding

folder, sequences = Path(sys.argv[1]), json.loads(sys.argv[2])
torch.manual_seed(0)
structure_module = {
    "sequence_dim": 32, "pairwise_dim": 16, "ipa_dim": 4, "resnet_dim": 16, "num_heads_ipa": 2, "num_blocks": 2,
}  # fmt: skip
trunk = {
    "num_blocks": 2, "sequence_state_dim": 64, "pairwise_state_dim": 32, "sequence_head_width": 16,
    "pairwise_head_width": 16, "position_bins": 8, "max_recycles": 2, "chunk_size": 16,
    "structure_module": structure_module,
}  # fmt: skip
config = EsmConfig(
    vocab_size=33, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
    position_embedding_type="rotary", is_folding_model=True, pad_token_id=1, mask_token_id=32,
    esmfold_config={"fp16_esm": True, "trunk": trunk},
)  # fmt: skip
model = EsmForProteinFolding(config).eval()
with torch.no_grad():
    # Fresh weights of the heads are all zeros, of which every residue is as sure as any other.
    for head in (model.lddt_head, model.ptm_head, model.trunk.structure_module, model.esm_s_mlp):
        for parameter in head.parameters():
            parameter.normal_(std=0.3)
    model.esm_s_combine.normal_()
model.save_pretrained(folder / "safetensors")
model.save_pretrained(folder / "pytorch", safe_serialization=False)

told = []
model.esm.float()
for sequence in sequences:
    with torch.no_grad():
        found = model.infer([sequence])
    told.append(
        {
            "structure": model.output_to_pdb(found)[0],
            "plddt": (100 * found["plddt"][0, :, 1]).tolist(),
            "ptm": float(found["ptm"]),
        }
    )
(folder / "told.json").write_text(json.dumps(told))
