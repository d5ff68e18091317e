#!/bin/sh
# Goes through the example as a person would, in a fresh copy of it. `make demo` runs it.
# usage: demo.sh VENV DIRECTORY
#   VENV        a virtual environment with Keepsake and requirements.txt
#   DIRECTORY   is emptied, and then holds the copy and what comes of it
set -eu
venv=$(cd "$1" && pwd)
example=$(cd "$(dirname "$0")" && pwd)
PATH=$venv/bin:$PATH

say() {
    printf '\n\n# %s\n' "$*"
}
run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

rm -rf "$2"
mkdir -p "$2/iris"
cd "$2/iris"
cp "$example"/*.py "$example"/*.yaml .

say 'Train twice, with two learning rates. Two statements of train.py do the tracking.'
run grep -n -e keepsake -e experiment train.py
run python train.py --learning-rate 0.1
run python train.py --learning-rate 5

say 'What was run, and how well did it go?'
run keepsake ls
slow=$(keepsake ls -q --sort created | head -n 1 | cut -c 1-7)
best=$(keepsake ls -q --sort val_loss | head -n 1 | cut -c 1-7)

say 'The higher learning rate jumps about: its best epoch is not its last one.'
run keepsake show "$best"

say 'How do the two differ?'
run keepsake diff "$slow" "$best"

say 'Bring back the best: its code and its weights, into a fresh directory.'
run keepsake checkout "$best" --output-directory ../best
run cd ../best
run ls
run python predict.py

printf '\n\nAll of this is in %s, to be looked at further.\n' "$(cd .. && pwd)"
