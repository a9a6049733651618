#!/bin/sh
# Ten models in one installation, of which several exclude each other's dependencies: each deployed by its name
# in the catalog, then called. What is not in memory when it is called wakes for it.
#
#   examples/zoo.sh                      # with the `modelyard` that `make demo` made here, else the one on the PATH
#   MODELYARD=…/modelyard examples/zoo.sh
set -eu
made=$(dirname "$0")/../.venv/bin/modelyard
if [ -z "${MODELYARD:-}" ] && [ -x "$made" ]; then MODELYARD=$made; fi
modelyard=$(command -v "${MODELYARD:-modelyard}") || {
    echo "There is no ${MODELYARD:-modelyard}. Install it here with \`make demo\`, or name one: MODELYARD=…/modelyard" >&2
    exit 1
}
case $modelyard in /*) ;; *) modelyard=$PWD/$modelyard ;; esac
cd "$(dirname "$0")/zoo"

heavy=EVQLVQSGPEVKKPGTSVKVSCKASGFTFMSSAVQWVRQARGQRLEWIGWIVIGSGNTNYAQKFQERVTITRDMSTSTAYMELSSLRSEDTAVYYCAAPYCSSISCNDGFDIWGQGTMVTVS
light=DVVMTQTPFSLPVSLGDQASISCRSSQSLVHSNGNTYLHWYLQKPGQSPKLLIYKVSNRFSGVPDRFSGSGSGTDFTLKISRVEAEDLGVYFCSQSTHVPYTFGGGTKLEIK
ubiquitin=MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG

for model in minilm antiberty igfold admet-ai protein-mpnn autodock-vina metapredict silero-vad magika smollm2-135m-instruct-gguf; do
    "$modelyard" catalog deploy "$model"
done

ask() { # what it is, then the arguments of `modelyard predict`
    printf '\n# %s\n$ modelyard predict %s\n' "$1" "$2 …"
    shift
    "$modelyard" predict "$@"
}

ask "a sentence as 384 numbers" minilm --text "The committee approved the new budget on Monday."
ask "an antibody's heavy chain, of which species it is, and a hidden residue" antiberty --set "sequence=$(echo $heavy | sed 's/CAAPY/CA_PY/')"
ask "the structure of an antibody, by one of its four networks" igfold --set models=1 --set heavy=$heavy --set light=$light
ask "what aspirin does in a body" admet-ai --set 'smiles=CC(=O)Oc1ccccc1C(=O)O'
ask "two sequences for the backbone of ubiquitin" protein-mpnn --set structure=@ubiquitin.pdb --parameter designs=2 --parameter seed=7
ask "aspirin, docked to ubiquitin" autodock-vina --set receptor=@ubiquitin.pdbqt --set 'ligand=CC(=O)Oc1ccccc1C(=O)O' \
    --set 'center=[27.1, 35.2, 20.0]' --set 'box_size=[18, 18, 18]' --parameter exhaustiveness=2
ask "how disordered the residues of ubiquitin are" metapredict --set sequence=$ubiquitin
ask "where in a recording somebody speaks (here: vowels, made by a formula)" silero-vad --set audio=@vowels.wav
ask "the type of a file" magika --set file=@vowels.wav
ask "an answer in words" smollm2-135m-instruct-gguf --text "What is the capital of France?" --parameter max_new_tokens=32

echo
"$modelyard" endpoints
"$modelyard" environments
