#!/usr/bin/env bash
# A SLURM cluster of two small nodes on this machine, alone in its own mount and network namespaces:
#   tests/slurm/cluster.sh COMMAND …      start it, run COMMAND inside, end it
# Needs root and Debian or Ubuntu (it installs their SLURM packages where they are missing). Nothing outside the
# namespaces changes: configuration, state, sockets and logs live on temporary file systems. No accounting, no cgroups:
# jobs that take more memory than they asked for are killed by SLURM's own watch, once a second.
# Inside: SLURM_TEST_LOGS is the folder with the daemons' logs, SLURM_TEST_SLURMD starts a node again (argument: its name).
set -euo pipefail

# Of each node; nodes may claim more than the machine has. Retries ask for several times a job's memory, and SLURM refuses
# a job that no node could hold.
CPUS=${CPUS:-2}
MEMORY=${MEMORY:-64000} # MB
NODES="node1 node2"
PACKAGES="munge slurmctld slurmd slurm-client slurm-wlm-basic-plugins iproute2"

cannot() { echo "cannot start SLURM: $*" >&2; exit 78; }

until_true() { # seconds command …
    local end=$(($(date +%s) + $1)); shift
    until "$@" > /dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || { echo "gave up waiting for: $*" >&2; tail -n 20 /var/log/slurm/*.log >&2; exit 1; }
        sleep 0.2
    done
}

install() {
    local missing=""
    for package in $PACKAGES; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null | grep -qx installed || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing; } \
        > /tmp/slurm-install.log 2>&1 || cannot "installing$missing failed: $(tail -n 1 /tmp/slurm-install.log)"
}

configure() {
    local host port=6828 lines="" node
    host=$(hostname -s)
    # A GPU line needs a device file for each: these are copies of /dev/null.
    mkdir -p /var/lib/slurm/gpu
    mknod -m 666 /var/lib/slurm/gpu/gpu0 c 1 3
    for node in $NODES; do
        mkdir -p "/var/lib/slurm/$node"
        lines="$lines
NodeName=$node NodeHostname=$host NodeAddr=127.0.0.1 Port=$port CPUs=$CPUS RealMemory=$MEMORY Gres=gpu:fake:1"
        port=$((port + 1))
    done
    mkdir -p /var/lib/slurm/state
    chown -R slurm:slurm /var/lib/slurm /var/log/slurm /run/slurm
    cat > /etc/slurm/slurm.conf << CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=slurm
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=/var/lib/slurm/state
SlurmdSpoolDir=/var/lib/slurm/%n
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/%n.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/%n.log
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=5,batch_sched_delay=0
GresTypes=gpu
SlurmdParameters=config_overrides
# squeue shows ended jobs for this long; the executor asks it instead of the accounting.
MinJobAge=600
# Short waits: a dead node is noticed soon, a job that ignores SIGTERM is killed soon.
SlurmdTimeout=20
SlurmctldTimeout=20
KillWait=15
ReturnToService=2$lines
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=512
PartitionName=short Nodes=ALL MaxTime=1 DefMemPerCPU=512
CONF
    echo "Name=gpu Type=fake File=/var/lib/slurm/gpu/gpu0" > /etc/slurm/gres.conf
}

nodes_idle() { [ "$(sinfo -h -N -p main -o '%T' | grep -c idle)" = "$(wc -w <<< "$NODES")" ]; }

inside() {
    local folder node
    for folder in /etc/slurm /run/slurm /run/munge /var/lib/slurm /var/log/slurm /var/log/munge /var/lib/munge /etc/munge; do
        mkdir -p "$folder"
        mount -t tmpfs -o mode=0755 tmpfs "$folder"
    done
    # SLURM resolves names only where some interface beside the loopback has an address.
    ip link set lo up
    ip link add test0 type veth peer name test1
    ip addr add 198.51.100.1/32 dev test0
    ip link set test0 up
    ip link set test1 up
    chown munge:munge /run/munge /var/log/munge /var/lib/munge /etc/munge
    chmod 700 /var/log/munge /var/lib/munge /etc/munge
    runuser -u munge -- mungekey --create
    runuser -u munge -- munged
    configure
    slurmctld
    until_true 30 sinfo
    for node in $NODES; do slurmd -N "$node"; done
    until_true 60 nodes_idle
    export SLURM_TEST_LOGS=/var/log/slurm SLURM_TEST_SLURMD="slurmd -N"
    trap 'scancel --user=root 2> /dev/null; sleep 1; pkill -F /run/slurm/slurmctld.pid; for n in $NODES; do pkill -F "/run/slurm/$n.pid"; done; pkill munged || true' EXIT
    "$@"
}

if [ "${1:-}" = --inside ]; then
    shift
    inside "$@"
else
    [ $# -gt 0 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 64; }
    [ "$(id -u)" = 0 ] || cannot "it needs root"
    command -v apt-get > /dev/null || cannot "there is no apt-get to install it with"
    install
    unshare --mount --net true 2> /dev/null || cannot "namespaces are not allowed here"
    exec unshare --mount --net --pid --fork --mount-proc --propagation private "$0" --inside "$@"
fi
