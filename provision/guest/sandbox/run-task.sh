# Unpack a task's tar from standard input and become its tmc-run. `engine.judge` reads what comes.
#
# Standard output begins with a line feed once tmc-run is about to start, and is the task's from
# then on; instead of that with one word, when there is nothing to start.

# What tar says is no word of the task's: it is told when unpacking fails.
said=$(tar --warning=none -xf - 2>&1) || {
    printf '%s\n' "$said" >&2
    exit 125
}
unset said
nothing() {
    printf '%s' "$1"
    exit "$2"
}
if [ ! -e tmc-run ]; then
    if [ -L tmc-run ]; then nothing dangling 127; else nothing missing 127; fi
fi
[ -f tmc-run ] || nothing no-file 126
[ -x tmc-run ] || nothing closed 126
# Only an exec that fails comes to this.
trap 'printf "\\000not started\\000"' EXIT
printf '\n'
exec ./tmc-run < /dev/null
