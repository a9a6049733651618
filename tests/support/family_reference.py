"""Run by the Python of a family's environment: what the library itself says of the records in stdin, by its own
documented calls. Arguments: the family, and the folder with its files, which is put on the path."""

import json
import sys
import tempfile
from pathlib import Path

family, folder = sys.argv[1], Path(sys.argv[2])
sys.dont_write_bytecode = True
sys.path.insert(0, str(folder))
records = json.load(sys.stdin)
told, sys.stdout = sys.stdout, sys.stderr  # the libraries print


def antiberty():
    from antiberty import AntiBERTyRunner

    runner = AntiBERTyRunner()
    runner.device = "cpu"
    for record in records:
        sequence = record["sequence"]
        (species,), (chain,) = runner.classify([sequence])
        (vectors,) = runner.embed([sequence])
        answer = {"species": species, "chain": chain, "per_residue": vectors[1:-1].tolist()}
        answer["embedding"] = vectors[1:-1].mean(0).tolist()
        if "_" in sequence:
            answer["filled"] = runner.fill_masks([sequence])[0]
        else:
            answer["log_likelihood"] = float(runner.pseudo_log_likelihood([sequence])[0])
        yield answer


def igfold():
    import torch
    from antiberty import AntiBERTyRunner
    from igfold.model.IgFold import IgFold
    from igfold.utils.folding import fold

    models = []
    for path in sorted(folder.glob("igfold/trained_models/IgFold/*.ckpt")):
        saved = torch.load(path, weights_only=False)
        model = IgFold(**saved["hyper_parameters"])
        model.load_state_dict(saved["state_dict"])
        models.append(model.eval())
    language = AntiBERTyRunner()
    for record in records:
        chains = {name[0].upper(): record[name] for name in ("heavy", "light") if name in record}
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "out.pdb"
            found = fold(
                language,
                models[: record.get("models", 4)],
                str(path),
                sequences=chains,
                do_refine=False,
                do_renum=False,
            )
            yield {
                "structure": path.read_text(),
                "error": found.prmsd.square().mean(-1).sqrt().squeeze(0).tolist(),
            }


def chemprop():
    from admet_ai import ADMETModel

    model = ADMETModel()
    for record in records:
        yield model.predict(record["smiles"])


def magika():
    from magika import Magika

    model = Magika()
    for record in records:
        found = model.identify_bytes(record["file"].encode())
        yield {"label": str(found.output.label), "score": found.score, "mime_type": found.output.mime_type}


def py3langid():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    for record in records:
        identifier.set_languages(record.get("languages"))
        language, probability = identifier.classify(record["text"])
        yield {"language": language, "probability": probability}


def silero_vad():
    import numpy
    import torch
    from silero_vad import get_speech_timestamps, load_silero_vad

    model = load_silero_vad()
    for record in records:
        samples = numpy.array(record["samples"], dtype="float32")
        yield get_speech_timestamps(torch.from_numpy(samples), model, sampling_rate=16000)


def metapredict():
    import metapredict as package

    for record in records:
        sequence = record["sequence"]
        found = package.predict_disorder(
            sequence, version=record["network"], round_values=False, return_domains=True
        )
        yield {
            "disorder": found.disorder.tolist(),
            "domains": {
                "disordered": found.disordered_domain_boundaries,
                "folded": found.folded_domain_boundaries,
            },
            "plddt": package.predict_pLDDT(sequence, round_values=False).tolist(),
        }


def vina():
    from vina import Vina

    for record in records:
        with tempfile.NamedTemporaryFile("w", suffix=".pdbqt") as file:
            file.write(record["receptor"])
            file.flush()
            docking = Vina(sf_name="vina", cpu=1, seed=record["seed"], verbosity=0)
            docking.set_receptor(file.name)
        docking.set_ligand_from_string(record["ligand"])
        docking.compute_vina_maps(center=record["center"], box_size=record["box_size"])
        docking.dock(exhaustiveness=record["exhaustiveness"], n_poses=record["n_poses"])
        yield {
            "energies": docking.energies(n_poses=record["n_poses"])[:, 0].tolist(),
            "poses": docking.poses(n_poses=record["n_poses"]),
        }


def gguf():
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(next(folder.glob("*.gguf")))
    params.n_ctx, params.n_parallel, params.warmup = 2048, 1, False
    params.hostnames = [str(Path(tempfile.mkdtemp()) / "reference.sock")]
    server = xllamacpp.Server(params)
    for record in records:
        answer = server.handle_chat_completions(
            {
                "messages": [{"role": "user", "content": record["prompt"]}],
                "max_tokens": record["max_new_tokens"],
                "temperature": 0,
            }
        )
        choice = answer["choices"][0]
        yield {"text": choice["message"]["content"], "finish_reason": choice["finish_reason"]}


answers = list(globals()[family]())
told.write(json.dumps(answers))
