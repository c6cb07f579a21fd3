#!/bin/bash
# Runs one attempt of FastGPU. This text is Slurm's batch script (no argument), and runs the
# command on each node where there are several (argument: node). It is the same for every
# attempt: what is to be run lies in files below $FASTGPU_FOLDER. Needs bash 4.4 and python3.
#
# SIGUSR2 from the keeper: the portal asks for a terminal, which is a second command beside the first.
#
# Exit status of its own: 70 the attempt's files cannot be read, 73 this start of this attempt has
# run before, 74 nothing can be written, 75 is the command's own to ask for another run.
set -u
umask 077
LC_ALL=C
role=${1:-batch}
folder=$FASTGPU_FOLDER
keeper=
place=
flag=
told=
mine=

on_term() {
    told=1
    [ -z "$place" ] || : > "$flag"
    [ -z "$keeper" ] || kill -USR1 "$keeper" 2> /dev/null
}
trap on_term TERM
# The keeper is woken by it, and may not die of one that comes before it listens.
trap '' USR1
# Nor may the wrapper of one that asks before it can answer.
trap '' USR2

now() {
    time=${EPOCHREALTIME:-$(date +%s.%N)}
}

# Wait for a child through signals; sets code.
wait_for() {
    local again
    while :; do
        wait "$1"
        code=$?
        if [ "$code" -le 128 ] || ! kill -0 "$1" 2> /dev/null; then break; fi
    done
    wait "$1" 2> /dev/null
    again=$?
    [ "$again" -eq 127 ] || code=$again
}

# Start the keeper; what is written to descriptor 4 reaches it. $1 log, $2 ceiling, $3 limit,
# $4 step, $5 what the portal asks for a terminal with.
start_keeper() {
    exec 5>&1
    # From its birth on: a subshell starts with the default of what is handled here.
    trap '' TERM
    coproc KEEPER {
        exec python3 -I -S "${plan[keeper]}" "$1" "$2" "$3" "${plan[grace]}" "$time" \
            "$folder/in/stop$suffix" "$flag" "$4" "$5" >&5
    }
    trap on_term TERM
    keeper=$KEEPER_PID
    exec 4>&"${KEEPER[1]}"
    exec {KEEPER[1]}>&- {KEEPER[0]}<&- 5>&-
    [ -z "$told" ] || : > "$flag"
}

# Wait for the command and then for its keeper; sets code.
keep() {
    exec 4>&-
    local result
    wait_for "$1"
    result=$code
    kill -USR1 "$keeper" 2> /dev/null
    wait_for "$keeper"
    code=$result
}

# The address of this node for other machines: Slurm knows it, names may not resolve.
find_address() {
    address=$(scontrol show node "$SLURMD_NODENAME" --oneliner |
        sed -n 's/.* NodeAddr=\([^ ]*\).*/\1/p')
    : "${address:=$SLURMD_NODENAME}"
}

# Variables are read from their file by what becomes the command: arguments are for everybody on the
# node to see. Python sets two signals, which bash could not set back.
become_command='
import os, signal, sys
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
folder, script, *extra = map(os.fsencode, sys.argv[1:])
with open(folder + b"/env", "rb") as file:
    words = file.read().split(b"\0")[:-1] + extra
env = dict(os.environb)
del env[b"LC_ALL"]
env.update(word.split(b"=", 1) for word in words)
os.setsid()
os.execve(b"/bin/bash", [b"/bin/bash", folder + b"/" + script], env)
'

# Become a script of the attempt's, $1, with its variables and limits; more variables follow.
become() {
    cd "${plan[workspace]:-$place/home}" || exit 74
    unset FASTGPU_FOLDER FASTGPU_MASTER FASTGPU_PORT
    ulimit -c 0
    ulimit -u $((plan[pids] + mine)) 2> /dev/null
    trap - TERM USR1 USR2
    LC_ALL=C exec python3 -I -S -c "$become_command" "$folder/in" "$@" "${extra[@]}" < /dev/null
}

# What the attempt finds set besides its file of variables.
find_extra() {
    local process
    # Limits of a user count all their processes on the node: those here already come on top.
    if [ -z "$mine" ]; then
        for process in /proc/[0-9]*; do [ ! -O "$process" ] || mine=$((mine + 1)); done
    fi
    extra=(
        "HOME=$place/home" "FASTGPU_ATTEMPT=$((plan[attempt] + restart))"
        "NNODES=${plan[nodes]}" "NODE_RANK=$rank" "PET_NNODES=${plan[nodes]}"
        "PET_NODE_RANK=$rank" "PET_NPROC_PER_NODE=${plan[processes]}"
        "MASTER_ADDR=$master" "PET_MASTER_ADDR=$master"
        "MASTER_PORT=$port" "PET_MASTER_PORT=$port"
    )
    [ -z "$task" ] || extra+=("FASTGPU_ARRAY_INDEX=$task")
    if [ -n "${plan[serve]:-}" ]; then
        find_address
        extra+=("FASTGPU_SERVE_HOST=$address" "FASTGPU_SERVE_FILE=$place/${plan[serve]}")
    fi
}

run_command() {
    find_extra
    (
        printf '%s\n' "$BASHPID" >&4
        become command >&4 2>&1 4>&-
    ) &
    keep $!
}

# One that is asked for again sees that the first is there, has it answer, and ends.
open_terminal() {
    find_address
    find_extra
    (
        exec 4>&-
        become "terminal$suffix" "FASTGPU_TERMINAL_HOST=$address" \
            "FASTGPU_TERMINAL_FOLDER=$place" > "$place/terminal.log" 2>&1
    ) &
}

run_nodes() {
    export FASTGPU_FOLDER FASTGPU_MASTER=$master FASTGPU_PORT=$port
    (
        printf '%s\n' "$BASHPID" >&4
        trap - TERM USR1 USR2
        exec setsid srun --label --quiet --kill-on-bad-exit=1 --mpi=none --nodes="${plan[nodes]}" \
            --ntasks="${plan[nodes]}" --ntasks-per-node=1 \
            --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" /bin/bash "${plan[script]}" node \
            < /dev/null >&4 2>&1 4>&-
    ) &
    keep $!
    # srun tells the greatest status; the first node to fail knows the cause.
    local file at status first=
    for file in "$place"/node.*; do
        read -r at status < "$file" 2> /dev/null || continue
        if [ "$status" != 0 ] && { [ -z "$first" ] || [[ $at < $first ]]; }; then
            first=$at
            code=$status
        fi
    done
}

# A port no other job of this node is given, unless somebody is on it already.
choose_port() {
    port=$((20000 + SLURM_JOB_ID % 10000))
    while (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do
        port=$((20000 + (port + 1) % 10000))
    done
}

declare -A plan
while IFS='=' read -r key value; do plan[$key]=$value; done < "$folder/in/plan"
[ -n "${plan[keeper]:-}" ] || exit 70
PATH=${plan[path]}
restart=${SLURM_RESTART_COUNT:-0}
task=${SLURM_ARRAY_TASK_ID:-}
suffix=${task:+.$task}
place=$folder/starts/${task:+$task.}$restart
rank=0
now
if [ "$role" = node ]; then
    rank=$SLURM_NODEID
    flag=$place/term.$rank
    master=$FASTGPU_MASTER
    port=$FASTGPU_PORT
    start_keeper - 0 "${plan[limit]}" - -
    run_command
    now
    printf '%s %s\n' "$time" "$code" > "$place/node.$rank"
    exit "$code"
fi
flag=$place/term
mkdir "$place" 2> /dev/null || { [ -d "$place" ] && exit 73; exit 74; }
printf '%s\n' "$time" > "$place/started"
mkdir "$place/home" || exit 74
code=143
if [ ! -e "$folder/in/stop$suffix" ]; then
    asked=$folder/in/terminal$suffix
    trap open_terminal USR2
    if [ "${plan[nodes]}" -gt 1 ]; then
        choose_port
        find_address
        master=$address
        start_keeper "$place/log" "${plan[ceiling]}" 0 "$SLURM_JOB_ID.0" "$asked"
        run_nodes
    else
        port=$((20000 + SLURM_JOB_ID % 10000))
        master=127.0.0.1
        start_keeper "$place/log" "${plan[ceiling]}" "${plan[limit]}" - "$asked"
        run_command
    fi
    trap '' USR2
    # What still runs are terminals, each the leader of a group once it has begun.
    for process in $(jobs -rp); do kill -KILL -- "-$process" "$process" 2> /dev/null; done
fi
now
printf '%s %s\n' "$time" "$code" > "$place/ended.new" && mv -f "$place/ended.new" "$place/ended"
exit "$code"
