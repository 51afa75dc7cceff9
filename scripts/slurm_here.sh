#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: Debian's slurmctld, slurmd and munge, as root,
# without systemd, cgroups or accounting.
#
#   scripts/slurm_here.sh start DIR [CPUS]   start it, with all of its files in DIR; then
#                                            export SLURM_CONF=DIR/slurm.conf
#   scripts/slurm_here.sh stop DIR           end what start has started
#
# Packages: apt-get install --no-install-recommends slurm-wlm munge
set -euo pipefail

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
action=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
cpus=${3:-$(nproc)}
host=$(hostname -s)

started() { # NAME COMMAND...: in the background, its process id in DIR/NAME.started
    local name=$1
    shift
    "$@" > "$dir/log/$name.out" 2>&1 &
    echo $! > "$dir/$name.started"
}

stop() {
    for name in slurmd slurmctld munged; do
        if [ -f "$dir/$name.started" ]; then
            kill "$(cat "$dir/$name.started")" 2> /dev/null || true
            rm "$dir/$name.started"
        fi
    done
}

start() {
    for program in munged slurmctld slurmd sbatch srun; do
        if ! command -v "$program" > /dev/null; then
            echo "$program is not here: apt-get install --no-install-recommends slurm-wlm munge" >&2
            exit 3
        fi
    done
    mkdir -p "$dir/state" "$dir/spool" "$dir/log"
    head -c 1024 /dev/urandom > "$dir/munge.key"
    chmod 600 "$dir/munge.key"
    chmod 755 "$dir"
    # cred_expire: a job that is handed in again waits that long, two minutes by default.
    cat > "$dir/slurm.conf" << END
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.sock,cred_expire=5
CredType=cred/munge
SlurmctldPort=${SLURM_HERE_PORT:-16817}
SlurmdPort=$((${SLURM_HERE_PORT:-16817} + 1))
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SlurmdParameters=config_overrides
MailProg=/bin/true
ReturnToService=2
SchedulerParameters=sched_interval=1
InactiveLimit=0
KillWait=5
MinJobAge=300
JobRequeue=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
    export SLURM_CONF=$dir/slurm.conf
    started munged munged --foreground --force --socket="$dir/munge.sock" \
        --key-file="$dir/munge.key" --log-file="$dir/log/munged.log" \
        --pid-file="$dir/munged.pid" --seed-file="$dir/munge.seed"
    started slurmctld slurmctld -D -c -f "$SLURM_CONF"
    started slurmd slurmd -D -c -f "$SLURM_CONF" -N "$host"
    for _ in $(seq 60); do
        if sinfo --noheader --format %T 2> /dev/null | grep -q idle; then
            echo "export SLURM_CONF=$SLURM_CONF"
            exit 0
        fi
        sleep 1
    done
    echo "Slurm did not come up within a minute; its logs are in $dir/log." >&2
    stop
    exit 1
}

case $action in
    start | stop) "$action" ;;
    *) usage ;;
esac
