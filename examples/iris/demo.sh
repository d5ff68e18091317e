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
    printf '\n\n# %s\n' "$@"
}
run() {
    printf '\n$ %s\n' "$*"
    "$@"
}
train() {
    printf '\n$ python train.py --lr %s 2> ../messages.txt\n' "$1"
    python train.py --lr "$1" 2> ../messages.txt || {
        cat ../messages.txt >&2
        exit 1
    }
}

rm -rf "$2"
mkdir -p "$2/iris"
cd "$2/iris"
cp "$example"/*.py "$example"/*.yaml .

say 'Train twice, with two learning rates. Two calls in train.py do the tracking.'
run grep -no -e keepsake.init -e experiment.checkpoint train.py
train 0.1
train 5
sleep 2 # so that the table below says "2 seconds ago", which is short

say 'What was run, and how well did it go?'
run keepsake ls
slow=$(keepsake ls -q --sort created | head -n 1 | cut -c 1-7)
best=$(keepsake ls -q --sort val_loss | head -n 1 | cut -c 1-7)

say 'The higher learning rate jumps about: its best epoch is not its last one.'
run keepsake show "$best"

say 'How do the two differ?'
printf '\n$ keepsake diff %s %s | grep -v Created\n' "$slow" "$best"
keepsake diff "$slow" "$best" | grep -v Created

say 'Bring back the best: its code and its weights, into a fresh directory.'
run keepsake checkout "$best" -o ../best
run cd ../best
run ls
run python predict.py

cat <<END


# Go on yourself. These commands are ready to be copied:

cd "$(cd ../iris && pwd)"
export PATH="$venv/bin:\$PATH"
python train.py --lr 1
keepsake ls --sort val_loss
keepsake checkout $slow -o ../slow
keepsake --help
END
